"""EDM's raw network F(c_in x, c_noise | obs) in two forms: residual, and the MLP of the paper's code."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dtql_robot.algorithm.networks import ACTIVATIONS, linear_of_parts


class SinusoidalEmbedding(nn.Module):
    """Sines and cosines of a scalar at geometrically spaced frequencies: (B,) -> (B, dim)."""

    frequencies: Tensor

    def __init__(self, dim: int, max_period: float = 10_000.0):
        super().__init__()
        exponents = torch.arange(dim // 2) / (dim // 2 - 1)
        self.register_buffer("frequencies", max_period**-exponents, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B,).  Returns (B, dim)."""
        angles = x[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class DenoiserNet(nn.Module):
    """EDM's raw network F(c_in x, c_noise | obs).

    The state has an encoder of its own, which enters every residual block and, through a gate on the noise level,
    the output itself.  At high noise the best answer is a plain regression on the state; a single MLP over
    [chunk, obs, embedding], as in the paper's code, must first learn to ignore hundreds of noisy inputs, and
    after some thousand updates its trust region pulls to the wrong place (docs/recipe.md).
    """

    def __init__(self, obs_dim: int, chunk: tuple[int, int], width: int, blocks: int, activation: str):
        super().__init__()
        self.chunk = chunk
        size = math.prod(chunk)
        act = ACTIVATIONS[activation]
        self.act = act()
        self.embed = nn.Sequential(SinusoidalEmbedding(16), nn.Linear(16, 32), act())
        self.encode = nn.Sequential(nn.Linear(obs_dim, width), act(), nn.Linear(width, width), act())
        self.enter = nn.Linear(size + 32, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(blocks))
        self.ups = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(blocks))
        self.downs = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.leave = nn.Linear(width, size)
        self.regress = nn.Linear(width, size)
        self.gate = nn.Linear(32, 1)

    def forward(self, x: Tensor, c_noise: Tensor, obs: Tensor) -> Tensor:
        """x: (B, H, A).  c_noise: (B,).  obs: (B, O).  Returns (B, H, A)."""
        level, state = self.embed(c_noise), self.encode(obs)
        h = linear_of_parts(self.enter, x.flatten(1), level)
        for norm, up, down in zip(self.norms, self.ups, self.downs, strict=True):
            h = h + down(self.act(linear_of_parts(up, norm(h), state)))
        out = self.leave(self.act(h)) + self.gate(level) * self.regress(state)
        return out.unflatten(1, self.chunk).to(x.dtype)


class DenoiserMLP(nn.Module):
    """EDM's raw network as the paper's code has it: one MLP over [chunk, obs, embedding of the noise level]."""

    def __init__(self, obs_dim: int, chunk: tuple[int, int], width: int, blocks: int, activation: str):
        super().__init__()
        self.chunk = chunk
        size, act = math.prod(chunk), ACTIVATIONS[activation]
        self.embed = nn.Sequential(SinusoidalEmbedding(16), nn.Linear(16, 32), act(), nn.Linear(32, 16))
        hidden = [layer for _ in range(blocks) for layer in (nn.Linear(width, width), act())]
        self.net = nn.Sequential(nn.Linear(size + obs_dim + 16, width), *hidden, nn.Linear(width, size))

    def forward(self, x: Tensor, c_noise: Tensor, obs: Tensor) -> Tensor:
        """x: (B, H, A).  c_noise: (B,).  obs: (B, O).  Returns (B, H, A)."""
        out = self.net(torch.cat([x.flatten(1), obs, self.embed(c_noise)], dim=-1))
        return out.unflatten(1, self.chunk).to(x.dtype)


DENOISERS: dict[str, type[nn.Module]] = {"residual": DenoiserNet, "mlp": DenoiserMLP}
