"""Convolutional networks from an image to feature maps, trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SpatialSoftmax(nn.Module):
    """Expected position of each channel's softmax over the image, "feature points" (Finn et al. 2016).

    (B, K, h, w) -> (B, 2 K): K horizontal positions, then K vertical ones, each in [-1, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, K, h, w).  Returns (B, 2 K): horizontal positions, then vertical ones."""
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
        """x: (B, C, H, W).  Returns the same shape."""
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
        """x: (B, C, H, W).  Returns (B, channels, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.skip(x))


def resnet18(channels: int, points: int = 32) -> nn.Sequential:
    """ResNet-18 (He et al. 2016) with GroupNorm up to `points` maps, as robomimic and Diffusion Policy use it."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 64, 7, 2, 3, bias=False),
        nn.GroupNorm(4, 64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
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
