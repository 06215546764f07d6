"""Layers that all networks are made of, and the critics: MLPs over a state vector and a flattened action chunk.

Each network returns its input's precision, whatever precision autocast gives to its matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn


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
        self.out_dim = out_dim
        self.weight = nn.Parameter(torch.empty(ensemble, in_dim, out_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(ensemble, 1, out_dim).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """x: (E, B, in).  Returns (E, B, out)."""
        return _ensemble_product(x, self.weight, self.bias, self.out_dim)


def _ensemble_product(x: Tensor, weight: Tensor, bias: Tensor, out_dim: int) -> Tensor:
    # out_dim is weight.shape[-1], which is a tensor while a policy is traced for its export.
    if out_dim == 1:  # a batched product with a single column runs at a fiftieth of the speed
        return (x * weight.mT).sum(dim=-1, keepdim=True) + bias
    return torch.baddbmm(bias, x, weight)


def first_outputs(layer: nn.Module, x: Tensor, count: int) -> Tensor:
    """The first `count` outputs of a linear layer, at no cost for the others.  (..., in) -> (..., count)."""
    if isinstance(layer, EnsembleLinear):
        return _ensemble_product(x, layer.weight[..., :count], layer.bias[..., :count], count)
    assert isinstance(layer, nn.Linear)
    return nn.functional.linear(x, layer.weight[:count], layer.bias[:count])


def linear_of_parts(layer: nn.Module, *parts: Tensor) -> Tensor:
    """A linear layer of joined inputs, without joining them: a part that needs no gradient costs no product for one.

    parts: (B, in of the part).  Returns (B, out).
    """
    assert isinstance(layer, nn.Linear)
    out: Tensor = layer.bias
    for part, weight in zip(parts, layer.weight.split([p.shape[-1] for p in parts], dim=1), strict=True):
        out = torch.addmm(out, part, weight.mT)
    return out


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


class QNetworks(nn.Module):
    """Q of a state and an action chunk by N networks, computed together: Q1, Q2 and, for its gradient, others."""

    def __init__(
        self,
        obs_dim: int,
        action_size: int,
        hidden: Sequence[int],
        activation: str,
        layer_norm: str = "shared",
        count: int = 2,
    ):
        """layer_norm: whether the gains and shifts are "shared" by all or each has its "own".  count: N, 2 or more."""
        super().__init__()
        self.count = count
        norm = nn.LayerNorm if layer_norm == "shared" else partial(EnsembleLayerNorm, count)
        self.net = mlp(obs_dim + action_size, hidden, 1, activation, norm, ensemble=count)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """obs: (B, O).  action: (B, H, A).  Returns (N, B)."""
        x = torch.cat([obs, action.flatten(1)], dim=-1)
        return self.net(x.expand(self.count, *x.shape)).squeeze(-1).to(obs.dtype)


def smaller(q: Tensor) -> Tensor:
    """The smaller of Q1 and Q2, the judgment that the paper's losses read.  (N, B) -> (B,)."""
    return q[:2].min(dim=0).values


class Value(nn.Module):
    """V of a state."""

    def __init__(self, obs_dim: int, hidden: Sequence[int], activation: str, layer_norm: bool = True):
        super().__init__()
        self.net = mlp(obs_dim, hidden, 1, activation, nn.LayerNorm if layer_norm else None)

    def forward(self, obs: Tensor) -> Tensor:
        """obs: (B, O).  Returns (B,)."""
        return self.net(obs).squeeze(-1).to(obs.dtype)
