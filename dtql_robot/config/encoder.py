"""Settings: from images to feature vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dtql_robot.config.checks import WIDEST, check_types, in_range, require

Network = Literal["critic", "denoiser", "policy"]


@dataclass(frozen=True)
class EncoderConfig:
    """From images to feature vectors.  Used where `obs_keys` names image observations."""

    encoder: Literal["cnn", "impala", "resnet18", "frozen"] = "cnn"
    """cnn: three convolutions and a spatial softmax, for CPUs. impala: 15 convolutions. resnet18: with GroupNorm and a
    spatial softmax. frozen: a pretrained backbone that is not trained, see backbone."""
    image_features: int = 64
    """Features of one camera."""
    share_cameras: bool = False
    """One encoder for all cameras (they must have the same size) instead of one each."""
    share_networks: bool = True
    """One encoder for critics, denoiser and policy instead of one each."""
    encoder_losses: tuple[Network, ...] = ("denoiser", "policy")
    """Networks whose loss trains their encoder; the others take its features as they are (docs/pixels.md)."""
    augment: Literal["crop", "shift", "none"] = "crop"
    """In training: a random window; the image shifted at random, its border repeated. Acting takes the middle."""
    augment_pixels: int = 4
    """Largest shift, or what the window lacks on each side, in pixels."""
    frame_stack: int = 1
    """Consecutive frames seen at once; at an episode's start its first one is repeated."""
    encoder_precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the encoder in training. bfloat16: about half the time where the processor has it."""
    backbone: str = "resnet18"
    """encoder=frozen: name of a torchvision model, or of a timm model as "timm:NAME"."""
    backbone_weights: str | None = None
    """encoder=frozen: local file with the backbone's state dict. Nothing is downloaded."""

    def __post_init__(self) -> None:
        check_types(self)
        in_range(self, 1, WIDEST, "image_features")
        in_range(self, 0, 10_000, "augment_pixels")
        in_range(self, 1, 1_000, "frame_stack")
        require(bool(self.encoder_losses), "encoder_losses", self.encoder_losses, "one or more networks")
