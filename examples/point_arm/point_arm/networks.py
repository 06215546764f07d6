"""An image encoder and a denoiser network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def pooling_encoder(channels: int, height: int, width: int) -> nn.Module:
    """The entry point of `dtql_robot.encoders`: (B, channels, height, width) -> (B, features or maps)."""
    return nn.Sequential(nn.Conv2d(channels, 8, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4))


class LinearDenoiser(nn.Module):
    """The entry point of `dtql_robot.networks`, with the arguments of `DenoiserNet` in `dtql_robot.algorithm`."""

    def __init__(self, obs_dim: int, chunk: tuple[int, int], width: int, blocks: int, activation: str) -> None:
        super().__init__()
        size = math.prod(chunk)
        self.chunk = chunk
        self.net = nn.Sequential(nn.Linear(size + obs_dim + 1, width), nn.SiLU(), nn.Linear(width, size))

    def forward(self, x: Tensor, c_noise: Tensor, obs: Tensor) -> Tensor:
        """x: (B, H, A).  c_noise: (B,).  obs: (B, O).  Returns (B, H, A)."""
        out = self.net(torch.cat([x.flatten(1), obs, c_noise[:, None]], dim=-1))
        return out.unflatten(1, self.chunk).to(x.dtype)
