"""The Gaussian policy's mean in NumPy, and as a policy of its own.

The same numbers as torch's to float32's rounding, without torch's overhead.

One robot's forward pass is a few matrix-vector products.  Between steps of a simulator, or of a control loop, when
torch's code has left the processor's caches, its calls cost several times the products themselves, and what they push
out of the caches slows the simulator down (docs/evaluation.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dtql_robot.policy.interface import Interface
from dtql_robot.types import Array, Obs

if TYPE_CHECKING:
    from torch import nn

Activation = Callable[[Array], Array]
ONE_THREAD = 9000  # entries of a block: it stays in the first cache, and OpenBLAS does not share it among threads


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def _silu(x: Array) -> Array:
    return x * (0.5 + 0.5 * np.tanh(0.5 * x))


def _mish(x: Array) -> Array:
    return x * np.tanh(np.logaddexp(np.float32(0), x))


ACTIVATIONS: dict[str, Activation] = {"ReLU": _relu, "SiLU": _silu, "Mish": _mish}
"""By the name of the network's module."""


class NumpyMean:
    """States (B, O) -> the policy's mean action chunks (B, H, A), float32.

    Each row is computed by matrix-vector products of its own, so that it is the same to the last bit whatever rows are
    beside it; a block of weights serves all rows while it is in the processor's cache.
    It needs no torch, and can be pickled.
    """

    def __init__(self, layers: Sequence[tuple[Array, Array]], activation: Activation, chunk: tuple[int, int]) -> None:
        """layers: (weight (G, out, in), bias (G * out,)) each: G products, each of its part of the input.  The last
        layer has H * A outputs.  chunk: (H, A)."""
        self._layers = [(_in_blocks(weight), bias) for weight, bias in layers]
        self._activation, self._chunk = activation, chunk

    def __call__(self, states: Array) -> Array:
        """states: (B, O) normalized.  Returns chunks, (B, H, A), normalized."""
        *hidden, last = self._layers
        x = np.ascontiguousarray(states, np.float32)
        for layer in hidden:
            x = self._activation(_linear(x, *layer))
        return np.tanh(_linear(x, *last)).reshape(len(x), *self._chunk)


@dataclass(frozen=True)
class NumpyPolicy:
    """Low-dimensional observations in, the policy's mean chunk out.  A `types.Policy` that can be pickled and starts
    without torch, so that each simulator process can have its own."""

    interface: Interface
    mean: NumpyMean
    n_action_steps: int
    chunk_weights: tuple[float, ...] | None

    @property
    def action_dim(self) -> int:
        """Entries of an action."""
        return self.interface.action_dim

    def predict(self, obs: Obs, rngs: Sequence[np.random.Generator]) -> Array:
        """See `types.Policy`; the mean draws nothing from rngs."""
        actions = self.interface.action_norm.invert(self.mean(self.interface.read(obs)))
        self.interface.check_actions(actions, obs)
        return actions


def _linear(x: Array, blocks: Array, bias: Array) -> Array:
    """x: (B, G * in).  blocks: (G * N, 1, rows, in), N for each part of x.  Returns (B, G * N * rows)."""
    size = blocks.shape[-1]
    if x.shape[1] == size:
        parts = x[None]
    else:
        parts = x.reshape(len(x), -1, size).swapaxes(0, 1)  # (G, B, in)
        parts = parts.repeat(len(blocks) // len(parts), axis=0)
    products = np.matmul(blocks, parts[..., None])  # (G * N, B, rows, 1)
    out = products.transpose(1, 0, 2, 3).reshape(len(x), -1)
    out += bias
    return out


def numpy_mean(network: nn.Module) -> NumpyMean | None:
    """`network`'s mean in NumPy; None where it is not an MLP on the CPU with an activation known here.

    It holds the network's own weights; those of an ensemble are a copy, in another order.
    """
    from torch import nn

    from dtql_robot.algorithm.networks import EnsembleLinear
    from dtql_robot.algorithm.policy_networks import GaussianPolicy

    if not isinstance(network, GaussianPolicy) or next(network.parameters()).device.type != "cpu":
        return None
    names = {type(layer).__name__ for layer in network.net if not isinstance(layer, nn.Linear | EnsembleLinear)}
    if len(names) != 1:
        return None
    weights = {name: array.detach().numpy() for name, array in network.state_dict().items()}
    return mean_of_weights(weights, names.pop(), network.chunk)


def mean_of_weights(weights: Mapping[str, Array], activation: str, chunk: tuple[int, int]) -> NumpyMean | None:
    """`numpy_mean` from a policy's state dict: "net.0.weight" (out, in) or, of E networks, (E, in, out), "net.0.bias".

    activation: as a setting or a module names it.  KeyError for weights of another network.
    """
    function = {name.lower(): f for name, f in ACTIVATIONS.items()}.get(activation.lower())
    if function is None:
        return None
    numbers = sorted({int(name.split(".")[1]) for name in weights})
    arrays = [(weights[f"net.{i}.weight"], weights[f"net.{i}.bias"]) for i in numbers]
    if len(arrays) < 2 or len({weight.ndim for weight, _ in arrays}) > 1:
        return None
    size = math.prod(chunk)  # of the last layer, without the deviations
    if arrays[0][0].ndim == 2:
        layers = [(weight[None], bias) for weight, bias in arrays[:-1]]
        weight, bias = arrays[-1]
        layers.append((weight[None, :size], bias[:size]))
    else:
        layers = _as_one([(weight.swapaxes(1, 2), bias[:, 0]) for weight, bias in arrays], size)
    return NumpyMean(layers, function, chunk)


def _as_one(layers: Sequence[tuple[Array, Array]], size: int) -> list[tuple[Array, Array]]:
    """One network that computes the mean of E, whose layers are (weight (E, out, in), bias (E, out)): the first layer
    has all outputs, the last one all inputs, and its weights and biases are divided by E.  size: outputs to keep."""
    (first, bias), *middle, (last, last_bias) = layers
    count = len(first)
    joined = last[:, :size].transpose(1, 0, 2).reshape(1, size, -1) / count
    return [
        (first.reshape(1, -1, first.shape[-1]), bias.ravel()),
        *((np.ascontiguousarray(weight), bias.ravel()) for weight, bias in middle),
        (np.ascontiguousarray(joined), last_bias[:, :size].mean(axis=0)),
    ]


def _in_blocks(weight: Array) -> Array:
    """(G, out, in) seen as (blocks, 1, rows, in), blocks of at most ONE_THREAD entries where they divide evenly."""
    _, out, size = weight.shape
    rows = max(rows for rows in range(1, out + 1) if out % rows == 0 and (rows == 1 or rows * size <= ONE_THREAD))
    return weight.reshape(-1, 1, rows, size)
