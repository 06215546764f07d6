"""Pretrained networks that give one vector an image and are not trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dtql_robot.errors import InputError


class BasicBlock(nn.Module):
    """ResNet's block of two convolutions with BatchNorm, its parts named as torchvision names them."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        self.downsample = nn.Sequential()
        if stride > 1 or in_channels != channels:
            shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, in_channels, H, W).  Returns (B, channels, H / stride, W / stride)."""
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class ResNet(nn.Module):
    """ResNet-18 or -34 (He et al. 2016) without its last layer: (B, 3, H, W) -> (B, 512).

    The arrays have torchvision's names, so that weights trained there load, and torchvision itself is not needed.
    """

    def __init__(self, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.maxpool, width = nn.MaxPool2d(3, 2, 1), 64
        for stage, count in enumerate(blocks):
            wider = 64 * 2**stage
            first = BasicBlock(width, wider, 2 if stage else 1)
            self.add_module(
                f"layer{stage + 1}", nn.Sequential(first, *(BasicBlock(wider, wider, 1) for _ in range(count - 1)))
            )
            width = wider

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 3, H, W), normalized.  Returns one vector an image, (B, D)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x.mean(dim=(2, 3))


RESNETS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
"""Name -> blocks of each stage."""


class Backbone(nn.Module):
    """A pretrained ResNet, or network of torchvision or timm, that gives one vector an image and is not trained."""

    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which they were trained on

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        if channels % 3:
            raise InputError(f"encoder=frozen sees colour images (3 channels per frame), found {channels} channels.")
        self.net = _network(name)
        for key, values in (("mean", self.MEAN), ("std", self.STD)):
            self.register_buffer(key, torch.tensor(values)[:, None, None], persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode, whatever is asked for: normalization layers keep their statistics."""
        return super().train(False)  # its normalization layers keep their statistics

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3 frames, H, W) in [-0.5, 0.5] -> (B, frames * D)."""
        frames = x.unflatten(1, (-1, 3)).flatten(0, 1)
        vectors = self.net((frames + 0.5 - self.mean) / self.std).flatten(1)
        return vectors.unflatten(0, (len(x), -1)).flatten(1)


def _network(name: str) -> nn.Module:
    if name in RESNETS:
        return ResNet(RESNETS[name])
    return _timm(name.removeprefix("timm:")) if name.startswith("timm:") else _torchvision(name)


def _torchvision(name: str) -> nn.Module:
    try:
        from torchvision import models
    except ImportError as error:
        raise InputError(
            f"backbone={name!r} needs torchvision; {_fitting_build()}. Without it, the backbones are "
            f"{' and '.join(RESNETS)}."
        ) from error
    except (RuntimeError, OSError, AttributeError) as error:  # its operators do not load
        raise InputError(
            f"backbone={name!r} needs torchvision, but the installed one was built for a torch other than "
            f"{torch.__version__}; {_fitting_build()}. Without it, the backbones are {' and '.join(RESNETS)}."
        ) from error
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


def _fitting_build() -> str:
    """How to install the torchvision that was built for this torch."""
    cuda = torch.version.cuda
    kind = f"cu{cuda.replace('.', '')}" if cuda else "cpu"
    return (
        f"install the build for it: `pip install --force-reinstall --no-deps torchvision --index-url "
        f"https://download.pytorch.org/whl/{kind}`"
    )
