"""The networks: plain MLPs over a state vector and a flattened action chunk.

Each returns its input's precision, whatever precision autocast gives to its matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Mish(nn.Module):
    """x * tanh(softplus(x)), as nn.Mish, from one sigmoid instead of an exponential, a logarithm and a tanh.

    With s = sigmoid(x) and u = s * (2 - s), tanh(log(1 + e^x)) = u / (2 - u): exact, and nothing overflows.
    """

    def forward(self, x: Tensor) -> Tensor:
        s = x.sigmoid()
        u = s * (2 - s)
        return x * (u / (2 - u))


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU, "mish": Mish}


class EnsembleLinear(nn.Module):
    """E independent linear layers as one batched product: (E, B, in) -> (E, B, out)."""

    def __init__(self, ensemble: int, in_dim: int, out_dim: int):
        super().__init__()
        bound = 1 / math.sqrt(in_dim)  # the distribution of nn.Linear
        self.weight = nn.Parameter(torch.empty(ensemble, in_dim, out_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(ensemble, 1, out_dim).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.shape[-1] == 1:  # a batched product with a single column runs at a fiftieth of the speed
            return (x * self.weight.mT).sum(dim=-1, keepdim=True) + self.bias
        return torch.baddbmm(self.bias, x, self.weight)


def mlp(in_dim: int, hidden: Sequence[int], out_dim: int, activation: str, layer_norm: bool = False) -> nn.Sequential:
    """Linear, [LayerNorm], activation for each hidden width, then a Linear to out_dim."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(nn.Linear(in_dim, width))
        if layer_norm:
            layers.append(nn.LayerNorm(width))
        layers.append(ACTIVATIONS[activation]())
        in_dim = width
    return nn.Sequential(*layers, nn.Linear(in_dim, out_dim))


class TwinQ(nn.Module):
    """Q1 and Q2 of a state and an action chunk, computed together."""

    def __init__(self, obs_dim: int, action_size: int, hidden: Sequence[int], activation: str):
        super().__init__()
        layers: list[nn.Module] = []
        in_dim = obs_dim + action_size
        for width in hidden:
            layers += [EnsembleLinear(2, in_dim, width), nn.LayerNorm(width), ACTIVATIONS[activation]()]
            in_dim = width
        self.net = nn.Sequential(*layers, EnsembleLinear(2, in_dim, 1))

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """obs: (B, O).  action: (B, H, A).  Returns (2, B)."""
        x = torch.cat([obs, action.flatten(1)], dim=-1)
        return self.net(x.expand(2, *x.shape)).squeeze(-1).to(obs.dtype)


class Value(nn.Module):
    """V of a state."""

    def __init__(self, obs_dim: int, hidden: Sequence[int], activation: str):
        super().__init__()
        self.net = mlp(obs_dim, hidden, 1, activation, layer_norm=True)

    def forward(self, obs: Tensor) -> Tensor:
        """obs: (B, O).  Returns (B,)."""
        return self.net(obs).squeeze(-1).to(obs.dtype)


class SinusoidalEmbedding(nn.Module):
    """Sines and cosines of a scalar at geometrically spaced frequencies: (B,) -> (B, dim)."""

    frequencies: Tensor

    def __init__(self, dim: int, max_period: float = 10_000.0):
        super().__init__()
        exponents = torch.arange(dim // 2) / (dim // 2 - 1)
        self.register_buffer("frequencies", max_period**-exponents, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
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
        h = self.enter(torch.cat([x.flatten(1), level], dim=-1))
        for norm, up, down in zip(self.norms, self.ups, self.downs, strict=True):
            h = h + down(self.act(up(torch.cat([norm(h), state], dim=-1))))
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


class GaussianPolicy(nn.Module):
    """One-step policy tanh(mean + std * noise), mean and std given by the state."""

    def __init__(
        self,
        obs_dim: int,
        chunk: tuple[int, int],
        hidden: Sequence[int],
        activation: str,
        log_std_bounds: tuple[float, float],
    ):
        super().__init__()
        self.chunk = chunk
        self.log_std_bounds = log_std_bounds
        self.net = mlp(obs_dim, hidden, 2 * math.prod(chunk), activation)

    def distribution(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """obs: (B, O).  Returns the pre-tanh mean and log standard deviation, each (B, H, A)."""
        mean, log_std = self.net(obs).to(obs.dtype).chunk(2, dim=-1)
        return mean.unflatten(1, self.chunk), log_std.clamp(*self.log_std_bounds).unflatten(1, self.chunk)

    def forward(self, obs: Tensor, noise: Tensor) -> Tensor:
        """obs: (B, O).  noise: (B, H, A) standard normal, 0 for the mean.  Returns (B, H, A) in (-1, 1)."""
        mean, log_std = self.distribution(obs)
        return torch.tanh(mean + log_std.exp() * noise)

    def mode(self, obs: Tensor) -> Tensor:
        """`forward` with noise 0: the mean.  obs: (B, O).  Returns (B, H, A)."""
        return torch.tanh(self.net(obs).to(obs.dtype)[:, : math.prod(self.chunk)]).unflatten(1, self.chunk)


class ImplicitPolicy(nn.Module):
    """One-step policy that maps noise and state straight to an action chunk."""

    def __init__(self, obs_dim: int, chunk: tuple[int, int], hidden: Sequence[int], activation: str):
        super().__init__()
        self.chunk = chunk
        size = math.prod(chunk)
        self.net = mlp(obs_dim + size, hidden, size, activation)

    def forward(self, obs: Tensor, noise: Tensor) -> Tensor:
        """obs: (B, O).  noise: (B, H, A) standard normal.  Returns (B, H, A) in (-1, 1)."""
        action = self.net(torch.cat([obs, noise.flatten(1)], dim=-1)).to(obs.dtype)
        return torch.tanh(action.unflatten(1, self.chunk))

    def mode(self, obs: Tensor) -> Tensor:
        """`forward` with noise 0.  obs: (B, O).  Returns (B, H, A)."""
        return self(obs, obs.new_zeros(len(obs), *self.chunk))
