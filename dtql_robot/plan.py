"""From predicted chunks of actions to the actions that are executed."""

from __future__ import annotations

import functools
import math

import numpy as np

from dtql_robot.types import Array


class ActionPlan:
    """What one robot does with the chunks that its policy predicts in one episode.

    Of each chunk the first `n_action_steps` actions are executed, then the next chunk is due.  With a
    `temporal_ensemble_coeff` m, each of them is the mean of what all chunks so far foresaw for that step, with weights
    exp(-m * i), i = 0 for the oldest chunk (temporal ensembling, Zhao et al. 2023, arXiv 2304.13705).
    None: the newest chunk alone.
    """

    def __init__(self, n_action_steps: int, temporal_ensemble_coeff: float | None = None) -> None:
        self.n_action_steps, self.coeff = n_action_steps, temporal_ensemble_coeff
        self._foreseen: list[Array] = []  # what is left of earlier chunks from the present step on, the oldest first

    def next(self, chunk: Array) -> Array:
        """chunk: (H, A) predicted now, H >= n_action_steps the same each time.  Returns the (n_action_steps, A) to
        execute."""
        n = self.n_action_steps
        if self.coeff is None:
            return chunk[:n]
        *older, newest = _shares(len(chunk), n, self.coeff, 1 + len(self._foreseen))
        actions = newest * chunk[:n]
        for share, foreseen in zip(older, self._foreseen, strict=True):
            actions[: len(foreseen)] += share[: len(foreseen)] * foreseen[:n]
        self._foreseen = [c[n:] for c in (*self._foreseen, chunk) if len(c) > n]
        return actions


@functools.lru_cache(maxsize=64)
def _shares(horizon: int, n: int, coeff: float, count: int) -> tuple[Array, ...]:
    """What each of `count` chunks, the oldest first, counts in each of n actions: (n, 1) each, in sum 1."""
    lengths = [horizon - n * age for age in reversed(range(count))]
    weights = [[math.exp(-coeff * i) * (step < length) for step in range(n)] for i, length in enumerate(lengths)]
    shares = np.array(weights) / np.sum(weights, axis=0)
    return tuple(shares.astype(np.float32)[:, :, None])
