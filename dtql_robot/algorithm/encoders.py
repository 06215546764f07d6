"""Optional encoders of image observations: {low-dimensional vector, images} -> one feature vector.

A batch is augmented and encoded once, whatever reads the features.  Shapes: B batch, F features, (H, W, C) an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dtql_robot.algorithm.augment import augment, middle, to_channels, window_size
from dtql_robot.config import EncoderConfig
from dtql_robot.errors import InputError
from dtql_robot.types import Batch, PixelBatch

NETWORKS = ("critic", "denoiser", "policy")
"""Who reads features; with `share_networks` off each has encoders of its own."""

ImageShapes = Mapping[str, tuple[int, ...]]


class SpatialSoftmax(nn.Module):
    """Expected position of each channel's softmax over the image, "feature points" (Finn et al. 2016).

    (B, K, h, w) -> (B, 2 K): K horizontal positions, then K vertical ones, each in [-1, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.points(x), dim=1)

    def weights(self, x: Tensor) -> Tensor:
        """Each channel's softmax over the image, (B, K, h, w)."""
        return (x.float().flatten(2) * self.sharpness).softmax(dim=-1).unflatten(2, x.shape[2:])

    def points(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Horizontal and vertical positions, each (B, K)."""
        weight = self.weights(x)
        across = torch.linspace(-1, 1, x.shape[3], device=x.device)
        down = torch.linspace(-1, 1, x.shape[2], device=x.device)
        return (weight.sum(dim=2) * across).sum(dim=-1), (weight.sum(dim=3) * down).sum(dim=-1)


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """A convolution that keeps the variance of what it gets through a ReLU (He et al. 2015)."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, padding)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def small_cnn(channels: int, points: int = 32) -> nn.Sequential:
    """Three convolutions to `points` maps at a quarter of the resolution; cheap enough for a CPU."""
    return nn.Sequential(_conv(channels, 32, 8, 4), nn.ReLU(), _conv(32, 32, 3), nn.ReLU(), _conv(32, points, 3))


class ImpalaBlock(nn.Module):
    """x + conv(relu(conv(relu(x)))) (Espeholt et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), _conv(channels, channels, 3, 1, 1), nn.ReLU(), _conv(channels, channels, 3, 1, 1)
        )
        nn.init.zeros_(self.body[-1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def impala(channels: int, widths: Sequence[int] = (16, 32, 32)) -> nn.Sequential:
    """IMPALA's residual network: per width a convolution, a pooling by 2 and two residual blocks."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [_conv(channels, width, 3, 1, 1), nn.MaxPool2d(3, 2, 1), ImpalaBlock(width), ImpalaBlock(width)]
        channels = width
    return nn.Sequential(*layers, nn.ReLU())


class ResidualBlock(nn.Module):
    """ResNet's basic block with GroupNorm, which does not depend on the batch (16 channels a group)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False),
            nn.GroupNorm(channels // 16, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.GroupNorm(channels // 16, channels),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or in_channels != channels:
            self.skip = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.GroupNorm(channels // 16, channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def resnet18(channels: int, points: int = 32) -> nn.Sequential:
    """ResNet-18 (He et al. 2016) with GroupNorm up to `points` maps, as robomimic and Diffusion Policy use it."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.GroupNorm(4, 64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    ]  # fmt: skip
    width = 64
    for stage in range(4):
        wider = 64 * 2**stage
        layers += [ResidualBlock(width, wider, 2 if stage else 1), ResidualBlock(wider, wider, 1)]
        width = wider
    return nn.Sequential(*layers, nn.Conv2d(width, points, 1))


def receptive_centres(maps: nn.Module) -> tuple[float, float]:
    """(pixel at the middle of what the first cell of a feature map sees, pixels from one cell to the next)."""
    first, step = 0.0, 1.0
    beside = {m for block in maps.modules() if isinstance(block, ResidualBlock) for m in block.skip.modules()}
    for layer in maps.modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)) and layer not in beside:
            kernel, stride, padding = (
                v[0] if isinstance(v, tuple) else int(v) for v in (layer.kernel_size, layer.stride, layer.padding)
            )
            first += ((kernel - 1) / 2 - padding) * step
            step *= stride
    return first, step


class Backbone(nn.Module):
    """A pretrained network of torchvision or timm that gives one vector an image and is not trained."""

    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which they were trained on

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        if channels % 3:
            raise InputError(f"encoder=frozen sees colour images (3 channels a frame), found {channels} channels.")
        self.net = _timm(name.removeprefix("timm:")) if name.startswith("timm:") else _torchvision(name)
        for key, values in (("mean", self.MEAN), ("std", self.STD)):
            self.register_buffer(key, torch.tensor(values)[:, None, None], persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        return super().train(False)  # its normalization layers keep their statistics

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3 frames, H, W) in [-0.5, 0.5] -> (B, frames * D)."""
        frames = x.unflatten(1, (-1, 3)).flatten(0, 1)
        vectors = self.net((frames + 0.5 - self.mean) / self.std).flatten(1)
        return vectors.unflatten(0, (len(x), -1)).flatten(1)


def _torchvision(name: str) -> nn.Module:
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        raise InputError(f"encoder=frozen with a torchvision backbone needs torchvision built for torch "
                         f"{torch.__version__} ({error}): `pip install 'dtql-robot[vision]'`.") from error  # fmt: skip
    try:
        net: Any = models.get_model(name, weights=None)
    except ValueError as error:
        raise InputError(f"backbone={name!r}: {error}; expected a torchvision model such as resnet18.") from error
    for head in ("fc", "classifier", "heads", "head"):
        if hasattr(net, head):
            setattr(net, head, nn.Identity())
            return net
    raise InputError(f"backbone={name!r} has no classification head to take off; choose a ResNet, ConvNeXt or ViT.")


def _timm(name: str) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise InputError("A timm backbone needs the package timm: `pip install timm`.") from error
    try:
        return timm.create_model(name, pretrained=False, num_classes=0)
    except RuntimeError as error:
        raise InputError(f"backbone='timm:{name}': {error}.") from error


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
        self.maps = makers[cfg.encoder](channels)
        self.maps.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        height, width = window_size(cfg, *shape[:2])
        try:
            with torch.no_grad():
                maps = self.maps(torch.zeros(1, channels, height, width))
        except RuntimeError:
            maps = torch.zeros(0, 0, 0, 0)
        if maps.numel() == 0 or (self.points is not None and min(maps.shape[2:]) < 2):
            raise InputError(f"Images of {height}x{width} pixels (after cropping) are too small for encoder="
                             f"{cfg.encoder!r}; record larger ones or choose another encoder.")  # fmt: skip
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

    def encode_batch(self, b: PixelBatch, generator: torch.Generator) -> tuple[Batch, Tensor]:
        """Augment and encode a batch once for all networks.

        Returns the batch with obs a leaf (gradients of all losses gather in `obs.grad`) and next_obs constant, and the
        features that the leaf copies: `features.backward(obs.grad)` trains the encoders in one pass.
        """
        low = b.low
        reduced = self.cfg.encoder_precision == "bfloat16"
        with torch.autocast(low.obs.device.type, torch.bfloat16, enabled=reduced):
            features = self(low.obs, self._augment(b.images, generator)).float()
            next_features = features.detach()  # not read
            if b.next_images:
                with torch.no_grad():
                    next_features = self(low.next_obs, self._augment(b.next_images, generator)).float()
        return low._replace(obs=features.detach().requires_grad_(), next_obs=next_features), features

    def _augment(self, images: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return {key: augment(images[key], self.cfg, generator) for key in self.keys}

    def load_backbone(self) -> None:
        """Read `backbone_weights` into every frozen backbone; other kinds have none.  InputError where it fails."""
        cfg = self.cfg
        if cfg.encoder != "frozen":
            return
        if not cfg.backbone_weights:
            raise InputError("encoder=frozen needs the backbone's weights: --backbone-weights FILE, a state dict saved "
                             "with torch.save. Nothing is downloaded.")  # fmt: skip
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
    lacking = [k for k, v in own.items() if k not in found or getattr(found[k], "shape", None) != v.shape]
    if lacking:
        raise InputError(f"{cfg.backbone_weights} does not fit backbone={cfg.backbone!r}: {len(lacking)} of {len(own)} "
                         f"arrays are missing or of another shape, the first is {lacking[0]!r}.")  # fmt: skip
    net.load_state_dict({k: found[k] for k in own})
