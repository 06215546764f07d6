"""From predicted chunks of actions to the actions that are executed."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from dtql_robot.types import Array


class ActionPlan:
    """What one robot does with the chunks that its policy predicts in one episode.

    Of each chunk the first `n_action_steps` actions are executed, then the next chunk is due.  With `chunk_weights`,
    each of them is the weighted mean of what the chunks so far foresaw for that step (temporal ensembling, Zhao et al.
    2023, arXiv 2304.13705): entry k is the weight of the chunk that is k decisions old, older ones count nothing.
    None: the newest chunk alone.
    """

    def __init__(self, n_action_steps: int, chunk_weights: Sequence[float] | None = None) -> None:
        self.n_action_steps, self.weights = n_action_steps, tuple(chunk_weights or (1.0,))
        self._foreseen: list[Array] = []  # what is left of earlier chunks from the present step on, the oldest first

    def next(self, chunk: Array) -> Array:
        """chunk: (H, A) predicted now, H >= n_action_steps the same each time.  Returns the (n_action_steps, A) to
        execute."""
        n = self.n_action_steps
        if len(self.weights) == 1:
            return chunk[:n]
        *older, newest = _shares(len(chunk), n, self.weights, 1 + len(self._foreseen))
        actions = newest * chunk[:n]
        for share, foreseen in zip(older, self._foreseen, strict=True):
            actions[: len(foreseen)] += share[: len(foreseen)] * foreseen[:n]
        kept = (*self._foreseen, chunk)[1 - len(self.weights) :]
        self._foreseen = [c[n:] for c in kept if len(c) > n]
        return actions


def exponential_weights(coeff: float, horizon: int, n_action_steps: int) -> tuple[float, ...]:
    """Weights exp(-coeff * i), i = 0 for the oldest chunk, as the paper on temporal ensembling has them: positive
    coefficients trust the older chunks, negative ones the newer."""
    return tuple(math.exp(coeff * age) for age in range(-(-horizon // n_action_steps)))


@functools.lru_cache(maxsize=64)
def _shares(horizon: int, n: int, weights: tuple[float, ...], count: int) -> tuple[Array, ...]:
    """What each of `count` chunks, the oldest first, counts in each of n actions: (n, 1) each, in sum 1.

    A step that only chunks of weight 0 foresaw is the newest chunk's, which foresaw them all.
    """
    lengths = [horizon - n * age for age in reversed(range(count))]
    reaches = np.arange(n) < np.array(lengths)[:, None]  # (count, n)
    counts = reaches * np.array(weights[count - 1 :: -1])[:, None]
    counts[-1, counts.sum(axis=0) == 0] = 1.0
    shares = counts / counts.sum(axis=0)
    return tuple(shares.astype(np.float32)[:, :, None])
