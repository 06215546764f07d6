"""Settings: from images to feature vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from dtql_robot.config.checks import WIDEST, Own, check_types, in_range, require, require_known
from dtql_robot.system import plugins

Network = Literal["critic", "denoiser", "policy"]
ENCODERS = ("cnn", "impala", "resnet18", "frozen")


@dataclass(frozen=True)
class EncoderConfig:
    """From images to feature vectors.  Used if `obs_keys` names image observations."""

    encoder: Annotated[str, Own(ENCODERS)] = "cnn"
    """Image encoder. cnn: three convolutions and a spatial softmax, fast on CPUs. impala: 15 convolutions. resnet18:
    with GroupNorm and a spatial softmax. frozen: a pretrained `backbone` that is not trained further. Also the name of
    an encoder that an installed package adds (docs/extending.md)."""
    image_features: int = 64
    """Number of features per camera."""
    share_cameras: bool = False
    """Use one encoder for all cameras, which must have the same image size, instead of one per camera."""
    share_networks: bool = True
    """Use one encoder for critics, denoiser and policy instead of one per network."""
    encoder_losses: tuple[Network, ...] = ("denoiser", "policy")
    """Networks whose losses train the encoder; the others use its features without training it (docs/pixels.md)."""
    augment: Literal["crop", "shift", "none"] = "crop"
    """Image augmentation in training. crop: a random window; the policy acts on the central one. shift: a random shift,
    with the border repeated."""
    augment_pixels: int = 4
    """Largest shift, or the margin that crop leaves off on each side, in pixels."""
    frame_stack: int = 1
    """Number of consecutive frames to observe; the first frame of an episode is repeated at its start."""
    encoder_precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the encoder in training. bfloat16: takes about half the time on processors that support it."""
    backbone: str = "resnet18"
    """With encoder=frozen: name of a torchvision model, or timm:NAME for a timm model."""
    backbone_weights: str | None = None
    """With encoder=frozen: local file with the backbone's state dict. Nothing is downloaded."""

    def __post_init__(self) -> None:
        check_types(self)
        require_known(self, "encoder", ENCODERS, plugins.ENCODERS)
        in_range(self, 1, WIDEST, "image_features")
        in_range(self, 0, 10_000, "augment_pixels")
        in_range(self, 1, 1_000, "frame_stack")
        require(bool(self.encoder_losses), "encoder_losses", self.encoder_losses, "one or more networks")
