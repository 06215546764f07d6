"""From predicted chunks of actions to the actions that are executed."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class ActionPlan:
    """What one robot does with the chunks that its policy predicts in one episode.

    The first `n_action_steps` actions of each chunk are executed; then the next chunk is due.  With `chunk_weights`,
    each of them is the weighted mean of what all chunks so far predicted for that step (temporal ensembling, Zhao et
    al. 2023, arXiv 2304.13705): entry k is the weight of the chunk that is k decisions old, older ones do not count.
    None: only the newest chunk.  ValueError where no step of a chunk is to be executed.
    """

    def __init__(self, n_action_steps: int, chunk_weights: Sequence[float] | None = None) -> None:
        if not hasattr(n_action_steps, "__index__") or n_action_steps < 1:
            raise ValueError(f"n_action_steps is {n_action_steps!r}; expected a whole number of at least 1.")
        self.n_action_steps, self.weights = n_action_steps, tuple(chunk_weights or (1.0,))
        self._decisions = 0
        self._foreseen: Array | None = None  # (H, A): weighted sum of what was foreseen for the step after next, ...

    def next(self, chunk: Array) -> Array:
        """chunk: (H, A) predicted now, the same H each time.  Returns the (n_action_steps, A) to execute.

        ValueError for a chunk of fewer steps than that.
        """
        n = self.n_action_steps
        if len(chunk) < n:
            raise ValueError(f"the chunk has {len(chunk)} steps; expected at least n_action_steps={n}.")
        if len(self.weights) == 1:
            return chunk[:n]
        scale, totals = _tables(len(chunk), n, self.weights)
        if self._foreseen is None:
            self._foreseen = np.zeros_like(chunk)
        self._foreseen += scale * chunk
        total, unweighted = totals[min(self._decisions, len(totals) - 1)]
        actions = self._foreseen[:n] / total
        if unweighted is not None:
            actions = np.where(unweighted, chunk[:n], actions)
        self._foreseen[:-n] = self._foreseen[n:]
        self._foreseen[-n:] = 0
        self._decisions += 1
        return actions


def exponential_weights(coeff: float, horizon: int, n_action_steps: int) -> tuple[float, ...]:
    """Weights exp(-coeff * i), i = 0 for the oldest chunk, as the paper on temporal ensembling has them: positive
    coefficients trust the older chunks, negative ones the newer."""
    return tuple(math.exp(coeff * age) for age in range(-(-horizon // n_action_steps)))


@functools.lru_cache(maxsize=64)
def _tables(horizon: int, n: int, weights: tuple[float, ...]) -> tuple[Array, tuple[tuple[Array, Array | None], ...]]:
    """(what each action of a chunk counts, (H, 1); and, for the first, second, ... decision and all later ones, the sum
    of what has been counted for each of its steps, (n, 1), with the steps for which nothing has).

    Those steps are the newest chunk's.
    """
    scale = np.zeros((horizon, 1), np.float32)
    sums, totals = np.zeros((n, 1), np.float32), []
    for age, weight in enumerate(weights[: -(-horizon // n)]):
        scale[n * age : n * (age + 1)] = weight
        sums[: horizon - n * age] += np.float32(weight)
        nothing = sums == 0
        totals.append((np.where(nothing, 1, sums), nothing if nothing.any() else None))
    return scale, tuple(totals)
