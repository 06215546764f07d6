"""Windows of images: what an encoder sees of them, at random in training and the middle when acting."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from dtql_robot.algorithm.peers import ALONE, Peers
from dtql_robot.config import EncoderConfig
from dtql_robot.errors import InputError


def window(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """A (height, width) window of each sample's frames, the border repeated where it reaches beyond.

    images: (B, frames, H, W, C) uint8.  top, left: (B,) pixels.  Returns (B, frames, height, width, C).
    """
    if images.device.type == "cpu":
        return _window_by_slices(images, top, left, height, width)
    return window_by_index(images, top, left, height, width)


def _window_by_slices(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Sample by sample: on a CPU a copied block is ten times as fast as its pixels one by one."""
    whole = images.numpy()
    before = max(0, -int(min(top.min(), left.min())))
    after = max(0, int(top.max()) + height - whole.shape[2], int(left.max()) + width - whole.shape[3])
    if before or after:
        edge = (before, after)
        whole = np.pad(whole, ((0, 0), (0, 0), edge, edge, (0, 0)), mode="edge")
    found = np.empty((*whole.shape[:2], height, width, whole.shape[4]), np.uint8)
    for i, (t, u) in enumerate(zip((top + before).tolist(), (left + before).tolist(), strict=True)):
        found[i] = whole[i, :, t : t + height, u : u + width]
    return torch.from_numpy(found)


def window_by_index(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """`window` without leaving the device or asking it for a number."""
    rows = (top[:, None] + torch.arange(height, device=images.device)).clamp(0, images.shape[2] - 1)
    columns = (left[:, None] + torch.arange(width, device=images.device)).clamp(0, images.shape[3] - 1)
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    return images.transpose(1, 2).transpose(2, 3)[sample, rows[:, :, None], columns[:, None, :]].movedim(3, 1)


def window_size(cfg: EncoderConfig, height: int, width: int) -> tuple[int, int]:
    """What the encoder sees of an image."""
    cut = 2 * cfg.augment_pixels if cfg.augment == "crop" else 0
    if min(height, width) <= cut:
        raise InputError(f"augment_pixels={cfg.augment_pixels} leaves nothing of {height}x{width} images.")
    return height - cut, width - cut


def augment(images: Tensor, cfg: EncoderConfig, generator: torch.Generator, peers: Peers = ALONE) -> Tensor:
    """Each sample's random window (crop) or random shift, the same in all of its frames."""
    if cfg.augment == "none" or cfg.augment_pixels == 0:
        return images
    size = window_size(cfg, *images.shape[2:4])
    low, high = (0, 2 * cfg.augment_pixels) if cfg.augment == "crop" else (-cfg.augment_pixels, cfg.augment_pixels)
    make = functools.partial(torch.randint, low, high + 1, device=images.device, generator=generator)
    offsets = peers.draw(make, torch.Size((2, len(images))), axis=1)
    return window(images, offsets[0], offsets[1], *size)


def middle(images: Tensor, cfg: EncoderConfig) -> Tensor:
    """What `augment` sees on average: the middle window of (B, frames, H, W, C)."""
    height, width = window_size(cfg, *images.shape[2:4])
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    return images[:, :, top : top + height, left : left + width]


def to_channels(images: Tensor) -> Tensor:
    """(B, frames, H, W, C) uint8 -> (B, frames * C, H, W) float32 in [-0.5, 0.5], channels last in memory."""
    stacked = images.movedim(1, 3).flatten(3).permute(0, 3, 1, 2)
    return stacked.float().contiguous(memory_format=torch.channels_last).mul(1 / 255).sub_(0.5)
