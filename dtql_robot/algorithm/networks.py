"""The networks: plain MLPs over a state vector and a flattened action chunk.

Each returns its input's precision, whatever precision autocast gives to its matrix products.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from dtql_robot.algorithm.diffusion import Denoiser


class Mish(nn.Module):
    """x * tanh(softplus(x)), as nn.Mish, from one sigmoid instead of an exponential, a logarithm and a tanh.

    With s = sigmoid(x) and u = s * (2 - s), tanh(log(1 + e^x)) = u / (2 - u): exact, and nothing overflows.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: any shape.  Returns the same shape."""
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
        """x: (E, B, in).  Returns (E, B, out)."""
        if self.weight.shape[-1] == 1:  # a batched product with a single column runs at a fiftieth of the speed
            return (x * self.weight.mT).sum(dim=-1, keepdim=True) + self.bias
        return torch.baddbmm(self.bias, x, self.weight)


class EnsembleLayerNorm(nn.Module):
    """Layer normalization with a gain and a shift for each of E networks: (E, B, D) -> (E, B, D)."""

    def __init__(self, ensemble: int, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(ensemble, 1, dim))
        self.bias = nn.Parameter(torch.zeros(ensemble, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        """x: (E, B, D).  Returns (E, B, D)."""
        return nn.functional.layer_norm(x, x.shape[-1:]) * self.weight + self.bias


def mlp(
    in_dim: int,
    hidden: Sequence[int],
    out_dim: int,
    activation: str,
    norm: Callable[[int], nn.Module] | None = None,
    ensemble: int | None = None,
) -> nn.Sequential:
    """Linear, [norm], activation for each hidden width, then a Linear to out_dim.

    norm: makes a layer's normalization from its width.  ensemble: E networks in one, (E, B, in) -> (E, B, out); the
    gains and shifts of an nn.LayerNorm are common to them.
    """
    linear = nn.Linear if ensemble is None else partial(EnsembleLinear, ensemble)
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(linear(in_dim, width))
        if norm is not None:
            layers.append(norm(width))
        layers.append(ACTIVATIONS[activation]())
        in_dim = width
    return nn.Sequential(*layers, linear(in_dim, out_dim))


class TwinQ(nn.Module):
    """Q1 and Q2 of a state and an action chunk, computed together."""

    def __init__(
        self, obs_dim: int, action_size: int, hidden: Sequence[int], activation: str, layer_norm: str = "shared"
    ):
        """layer_norm: whether the gains and shifts are "shared" by the two or each has its "own"."""
        super().__init__()
        norm = nn.LayerNorm if layer_norm == "shared" else partial(EnsembleLayerNorm, 2)
        self.net = mlp(obs_dim + action_size, hidden, 1, activation, norm, ensemble=2)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """obs: (B, O).  action: (B, H, A).  Returns (2, B)."""
        x = torch.cat([obs, action.flatten(1)], dim=-1)
        return self.net(x.expand(2, *x.shape)).squeeze(-1).to(obs.dtype)


class Value(nn.Module):
    """V of a state."""

    def __init__(self, obs_dim: int, hidden: Sequence[int], activation: str, layer_norm: bool = True):
        super().__init__()
        self.net = mlp(obs_dim, hidden, 1, activation, nn.LayerNorm if layer_norm else None)

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


class OneStepPolicyNet(nn.Module, ABC):
    """From a state and noise to an action chunk in one forward pass: the mean of its members' outputs, squashed."""

    chunk: tuple[int, int]

    @abstractmethod
    def members(self, obs: Tensor, noise: Tensor) -> Tensor:
        """What each of the E networks gives before `squash`.  obs: (B, O).  noise: (B, H, A).  Returns (E, B, H, A)."""

    def squash(self, raw: Tensor) -> Tensor:
        """Members' outputs, or their mean, as the losses see them: tanh."""
        return torch.tanh(raw)

    def forward(self, obs: Tensor, noise: Tensor) -> Tensor:
        """obs: (B, O).  noise: (B, H, A) standard normal.  Returns (B, H, A) in [-1, 1]."""
        return self.squash(self.members(obs, noise).mean(dim=0))

    def candidates(self, obs: Tensor, noise: Tensor) -> Tensor:
        """`forward` of one state with N draws.  obs: (1, O).  noise: (N, H, A).  Returns (N, H, A)."""
        return self(obs.expand(noise.shape[0], -1), noise)

    def mode(self, obs: Tensor) -> Tensor:
        """`forward` with noise 0.  obs: (B, O).  Returns (B, H, A)."""
        return self(obs, obs.new_zeros(len(obs), *self.chunk))


class GaussianPolicy(OneStepPolicyNet):
    """tanh(mean + std * noise), mean and std given by the state.

    With `members` above 1 it is an ensemble of networks that share nothing: means and stds are averaged.
    """

    def __init__(
        self,
        obs_dim: int,
        chunk: tuple[int, int],
        hidden: Sequence[int],
        activation: str,
        log_std_bounds: tuple[float, float],
        members: int = 1,
        orthogonal: bool = False,
    ):
        """orthogonal: initial weights are orthogonal and biases 0, instead of torch's uniform ones."""
        super().__init__()
        self.chunk = chunk
        self.log_std_bounds = log_std_bounds
        self.ensemble = members if members > 1 else None
        self.net = mlp(obs_dim, hidden, 2 * math.prod(chunk), activation, ensemble=self.ensemble)
        if orthogonal:
            orthogonal_(self.net)

    def distributions(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """obs: (B, O).  Returns each member's pre-tanh mean and log standard deviation, both (E, B, H, A)."""
        out = self.net(obs)[None] if self.ensemble is None else self.net(obs.expand(self.ensemble, *obs.shape))
        mean, log_std = out.to(obs.dtype).unflatten(-1, (2, *self.chunk)).unbind(dim=2)
        return mean, log_std.clamp(*self.log_std_bounds)

    def candidates(self, obs: Tensor, noise: Tensor) -> Tensor:
        """`forward` of one state with N draws, for which the network itself runs once.  obs: (1, O).  noise: (N, H, A).
        Returns (N, H, A)."""
        return self(obs, noise)  # mean and deviation are of the state alone, and meet the noise by broadcasting

    def members(self, obs: Tensor, noise: Tensor) -> Tensor:
        """The chunk of each member before tanh: (M, B, H, A).  obs: (B, O), noise: (B, H, A), 0 for the mean."""
        mean, log_std = self.distributions(obs)
        return mean + log_std.exp() * noise


class ImplicitPolicy(OneStepPolicyNet):
    """Noise and state straight to an action chunk."""

    def __init__(self, obs_dim: int, chunk: tuple[int, int], hidden: Sequence[int], activation: str):
        super().__init__()
        self.chunk = chunk
        size = math.prod(chunk)
        self.net = mlp(obs_dim + size, hidden, size, activation)

    def members(self, obs: Tensor, noise: Tensor) -> Tensor:
        """The one chunk before tanh: (1, B, H, A).  obs: (B, O), noise: (B, H, A)."""
        out = self.net(torch.cat([obs, noise.flatten(1)], dim=-1)).to(obs.dtype)
        return out.unflatten(1, self.chunk)[None]


class DenoiserPolicy(OneStepPolicyNet):
    """One step of a denoiser from pure noise of a fixed level to an action chunk: D(sigma * noise; sigma | obs).

    The losses see its output as it is; what acts is clamped to [-1, 1].
    """

    def __init__(self, denoiser: Denoiser, chunk: tuple[int, int], sigma: float):
        """denoiser: of its own, not the one that learns the behaviour.  sigma: the level, above the data's spread."""
        super().__init__()
        self.denoiser, self.chunk, self.sigma = denoiser, chunk, sigma

    def members(self, obs: Tensor, noise: Tensor) -> Tensor:
        """The one chunk: (1, B, H, A).  obs: (B, O), noise: (B, H, A)."""
        return self.denoiser.unbounded(self.sigma * noise, obs.new_full((len(obs),), self.sigma), obs)[None]

    def squash(self, raw: Tensor) -> Tensor:
        """As it is: a clamp would take the gradient of what lies beyond."""
        return raw

    def forward(self, obs: Tensor, noise: Tensor) -> Tensor:
        """obs: (B, O).  noise: (B, H, A) standard normal.  Returns (B, H, A) in [-1, 1]."""
        return super().forward(obs, noise).clamp(-1, 1)


@torch.no_grad()
def orthogonal_(net: nn.Sequential) -> None:
    """Orthogonal weights and zero biases in every linear layer, each member of an ensemble by itself."""
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight)
            layer.bias.zero_()
        elif isinstance(layer, EnsembleLinear):
            for weight in layer.weight:
                nn.init.orthogonal_(weight)
            layer.bias.zero_()
