"""The Gaussian policy's mean in NumPy: the same numbers as torch's to float32's rounding, without torch's overhead.

One robot's forward pass is a few matrix-vector products.  Between steps of a simulator, or of a control loop, when
torch's code has left the processor's caches, its calls cost several times the products themselves, and what they push
out of the caches slows the simulator down (docs/evaluation.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dtql_robot.types import Array

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
        """layers: (weight (out, in), bias (out,)) each, the last one with H * A outputs.  chunk: (H, A)."""
        self._layers = [(_in_blocks(weight), bias) for weight, bias in layers]
        self._activation, self._chunk = activation, chunk

    def __call__(self, states: Array) -> Array:
        *hidden, last = self._layers
        x = np.ascontiguousarray(states, np.float32)
        for layer in hidden:
            x = self._activation(_linear(x, *layer))
        return np.tanh(_linear(x, *last)).reshape(len(x), *self._chunk)


def _linear(x: Array, blocks: Array, bias: Array) -> Array:
    """x: (B, in).  blocks: (N, rows, in).  Returns (B, N * rows)."""
    products = np.matmul(blocks[:, None], x[None, :, :, None])  # (N, B, rows, 1)
    out = products.transpose(1, 0, 2, 3).reshape(len(x), -1)
    out += bias
    return out


def numpy_mean(network: nn.Module) -> NumpyMean | None:
    """`network`'s mean in NumPy, with the network's own weights, not a copy; None where it is not an MLP on the CPU
    with an activation known here."""
    from torch import nn

    from dtql_robot.networks import GaussianPolicy

    if not isinstance(network, GaussianPolicy) or next(network.parameters()).device.type != "cpu":
        return None
    linear = [layer for layer in network.net if isinstance(layer, nn.Linear)]
    names = {type(layer).__name__ for layer in network.net if not isinstance(layer, nn.Linear)}
    if len(names) != 1 or not names <= ACTIVATIONS.keys():
        return None
    sizes = [layer.out_features for layer in linear[:-1]] + [math.prod(network.chunk)]  # not the deviations
    arrays = [
        (layer.weight.detach().numpy()[:n], layer.bias.detach().numpy()[:n])
        for layer, n in zip(linear, sizes, strict=True)
    ]
    return NumpyMean(arrays, ACTIVATIONS[names.pop()], network.chunk)


def _in_blocks(weight: Array) -> Array:
    """(out, in) seen as (blocks, rows, in), blocks of at most ONE_THREAD entries where they divide evenly."""
    out, size = weight.shape
    rows = max(rows for rows in range(1, out + 1) if out % rows == 0 and (rows == 1 or rows * size <= ONE_THREAD))
    return weight.reshape(-1, rows, size)
