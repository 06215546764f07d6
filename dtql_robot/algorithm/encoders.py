"""Optional encoders of image observations: {low-dimensional vector, images} -> one feature vector.

A batch is augmented and encoded once, whatever reads the features.  Shapes: B batch, F features, (H, W, C) an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dtql_robot.algorithm.augment import augment, middle, to_channels, window_size
from dtql_robot.algorithm.backbones import Backbone
from dtql_robot.algorithm.image_networks import (
    SpatialSoftmax,
    impala,
    receptive_centres,
    resnet18,
    small_cnn,
)
from dtql_robot.algorithm.peers import ALONE, Peers
from dtql_robot.config import EncoderConfig
from dtql_robot.errors import InputError, describe
from dtql_robot.system import plugins
from dtql_robot.types import Batch, PixelBatch

NETWORKS = ("critic", "denoiser", "policy")
"""Who reads features; with `share_networks` off each has encoders of its own."""

ImageShapes = Mapping[str, tuple[int, ...]]


class CameraEncoder(nn.Module):
    """One camera's (or all cameras') images -> (B, image_features).  See `EncoderConfig.encoder` for the kinds."""

    def __init__(self, cfg: EncoderConfig, shape: tuple[int, ...]) -> None:
        """shape: (height, width, channels) as recorded."""
        super().__init__()
        channels = cfg.frame_stack * shape[2]
        self.points = SpatialSoftmax() if cfg.encoder in ("cnn", "resnet18") else None
        makers: dict[str, Callable[[int], nn.Module]] = {
            "cnn": small_cnn,
            "impala": impala,
            "resnet18": resnet18,
            "frozen": lambda c: Backbone(cfg.backbone, c),
        }
        height, width = window_size(cfg, *shape[:2])
        make = makers.get(cfg.encoder) or partial(added_encoder, cfg.encoder, makers, height, width)
        self.maps = make(channels)
        self.maps.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        try:
            with torch.no_grad():
                maps = self.maps(torch.zeros(1, channels, height, width))
        except RuntimeError:
            maps = torch.zeros(0, 0, 0, 0)
        if maps.numel() == 0 or (self.points is not None and min(maps.shape[2:]) < 2):
            raise InputError(
                f"Images of {height}x{width} pixels (after cropping) are too small for encoder="
                f"{cfg.encoder!r}; record larger ones or choose another encoder."
            )
        size = maps.flatten(1).shape[1] if self.points is None else 2 * maps.shape[1]
        self.leave = nn.Sequential(nn.Linear(size, cfg.image_features), nn.LayerNorm(cfg.image_features))

    def _vector(self, x: Tensor) -> Tensor:
        maps = self.maps(x)
        return (maps if self.points is None else self.points(maps)).flatten(1).float()

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, frames * C, height, width), see `to_channels`.  Returns (B, image_features)."""
        return self.leave(self._vector(x))

    def keypoints(self, x: Tensor) -> Tensor:
        """The spatial softmax's points in pixels of the window: (B, K, 3) across, down, and the weights' deviation.

        A point whose weights are spread over the image is an average of many places and shows none.
        """
        if self.points is None:
            raise InputError("Only the encoders cnn and resnet18 have keypoints; use --video-overlay saliency.")
        weight = self.points.weights(self.maps(x))
        first, step = receptive_centres(self.maps)
        found = []
        for summed in (weight.sum(dim=2), weight.sum(dim=3)):
            at = first + step * torch.arange(summed.shape[2], device=x.device)
            mean = (summed * at).sum(dim=-1)
            found += [mean, (summed * (at - mean[..., None]) ** 2).sum(dim=-1)]
        return torch.stack([found[0], found[2], (found[1] + found[3]).sqrt()], dim=-1)


def added_encoder(name: str, own: Iterable[str], height: int, width: int, channels: int) -> nn.Module:
    """The encoder that another package adds: its entry point is called with channels, height and width.

    It maps (B, channels, height, width) to (B, ...), which is flattened.  InputError where it does something else.
    """
    made = plugins.call(plugins.ENCODERS, name, own, channels, height, width)
    where = f"The encoder {name!r} ({plugins.named(plugins.ENCODERS, name)})"
    if not isinstance(made, nn.Module):
        raise InputError(f"{where} is {type(made).__name__}; expected a torch.nn.Module.")
    try:
        with torch.no_grad():
            out = made(torch.zeros(2, channels, height, width))
    except Exception as error:  # of somebody else's network
        raise InputError(
            f"{where} fails on images of {height}x{width} with {channels} channels: {describe(error)}."
        ) from error
    if not isinstance(out, Tensor) or out.ndim < 2 or len(out) != 2 or not out.numel():
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise InputError(f"{where} returns {shape} for two images; expected a tensor (2, ...).")
    return made


class Encoders(nn.Module):
    """All encoders of an agent.  The feature vector is [low-dim, camera 1, camera 2, ...], once for each reader.

    With `share_networks` there is one reader for all networks; without, the vectors of critic, denoiser and policy lie
    side by side, and `columns` tells a network's own.
    """

    def __init__(self, cfg: EncoderConfig, obs_dim: int, image_shapes: ImageShapes) -> None:
        """obs_dim: low-dimensional entries L.  image_shapes: key -> (height, width, channels)."""
        super().__init__()
        self.cfg, self.keys = cfg, tuple(image_shapes)
        shapes = list(image_shapes.values())
        if cfg.share_cameras and len(set(shapes)) > 1:
            raise InputError(f"share_cameras needs images of one size, found {dict(image_shapes)}.")
        self.readers = ("all",) if cfg.share_networks else NETWORKS
        self.cameras = nn.ModuleDict()
        for reader in self.readers:
            made = [CameraEncoder(cfg, shape) for shape in (shapes[:1] if cfg.share_cameras else shapes)]
            self.cameras[reader] = nn.ModuleList(made)
        self.feature_dim = obs_dim + cfg.image_features * len(shapes)
        """Entries that one network reads."""

    def columns(self, network: str) -> slice:
        """Where in the whole vector `network` reads."""
        if self.cfg.share_networks:
            return slice(None)
        first = self.readers.index(network) * self.feature_dim
        return slice(first, first + self.feature_dim)

    def camera(self, reader: str, index: int) -> CameraEncoder:
        """The encoder that reads image key number `index`."""
        encoders: Any = self.cameras[reader]
        return encoders[0 if self.cfg.share_cameras else index]

    def forward(self, lowdim: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """lowdim: (B, L).  images: key -> (B, frames, height, width, C) uint8, cut already.  Returns (B, F)."""
        inputs = [to_channels(images[key]) for key in self.keys]
        vectors = []
        for reader in self.readers:
            vectors += [lowdim, *(self.camera(reader, i)(x) for i, x in enumerate(inputs))]
        return torch.cat(vectors, dim=1)

    def encode(self, lowdim: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """Features for acting: of the middle of whole images (B, frames, H, W, C) uint8.  Returns (B, F)."""
        return self(lowdim, {key: middle(images[key], self.cfg) for key in self.keys})

    def keypoints(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of whole images (B, frames, H, W, C) uint8: key -> (B, K, 3) in pixels, see `CameraEncoder.keypoints`."""
        found = {}
        for i, key in enumerate(self.keys):
            cut = middle(images[key], self.cfg)
            offset = [(whole - part) // 2 for whole, part in zip(images[key].shape[2:4], cut.shape[2:4], strict=True)]
            points = self.camera(self.readers[-1], i).keypoints(to_channels(cut))
            found[key] = points + points.new_tensor([offset[1], offset[0], 0.0])
        return found

    def encode_batch(self, b: PixelBatch, generator: torch.Generator, peers: Peers = ALONE) -> tuple[Batch, Tensor]:
        """Augment and encode a batch once for all networks.

        Returns the batch with obs a leaf (gradients of all losses gather in `obs.grad`) and next_obs constant, and the
        features that the leaf copies: `features.backward(obs.grad)` trains the encoders in one pass.
        """
        low = b.low
        reduced = self.cfg.encoder_precision == "bfloat16"
        with torch.autocast(low.obs.device.type, torch.bfloat16, enabled=reduced):
            features = self(low.obs, self._augment(b.images, generator, peers)).float()
            next_features = features.detach()  # not read
            if b.next_images:
                with torch.no_grad():
                    next_features = self(low.next_obs, self._augment(b.next_images, generator, peers)).float()
        return low._replace(obs=features.detach().requires_grad_(), next_obs=next_features), features

    def _augment(self, images: Mapping[str, Tensor], generator: torch.Generator, peers: Peers) -> dict[str, Tensor]:
        return {key: augment(images[key], self.cfg, generator, peers) for key in self.keys}

    def load_backbone(self) -> None:
        """Read `backbone_weights` into every frozen backbone; other kinds have none.  InputError where it fails."""
        cfg = self.cfg
        if cfg.encoder != "frozen":
            return
        if not cfg.backbone_weights:
            raise InputError(
                "encoder=frozen needs the backbone's weights: --backbone-weights FILE, a state dict saved "
                "with torch.save. Nothing is downloaded."
            )
        try:
            state = torch.load(cfg.backbone_weights, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever the file is, the user needs the sentence
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{cfg.backbone_weights} cannot be read as weights ({reason}).") from error
        for module in self.modules():
            if isinstance(module, Backbone):
                _load(module.net, state, cfg)


def _load(net: nn.Module, state: Any, cfg: EncoderConfig) -> None:
    own = net.state_dict()
    found = state.get("state_dict", state) if isinstance(state, dict) else {}
    counts = {k for k in own if k.endswith("num_batches_tracked")}  # not in older files, and read in training alone
    own = {k: v for k, v in own.items() if k not in counts}
    lacking = [k for k, v in own.items() if k not in found or getattr(found[k], "shape", None) != v.shape]
    if lacking:
        raise InputError(
            f"{cfg.backbone_weights} does not fit backbone={cfg.backbone!r}: {len(lacking)} of {len(own)} "
            f"arrays are missing or have another shape, first {lacking[0]!r}."
        )
    net.load_state_dict({k: found[k] for k in own}, strict=not counts)
