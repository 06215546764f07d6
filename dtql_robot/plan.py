"""From predicted chunks of actions to the actions that are executed."""

from __future__ import annotations

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
        self._foreseen: list[Array] = []  # chunks from the present step on, the oldest first

    def next(self, chunk: Array) -> Array:
        """chunk: (H, A) predicted now, H >= n_action_steps.  Returns the (n_action_steps, A) to execute."""
        if self.coeff is None:
            return chunk[: self.n_action_steps]
        self._foreseen.append(chunk)
        n = self.n_action_steps
        total, weights = np.zeros((n, chunk.shape[1])), np.zeros((n, 1))
        for i, foreseen in enumerate(self._foreseen):
            reach, weight = min(n, len(foreseen)), np.exp(-self.coeff * i)
            total[:reach] += weight * foreseen[:reach]
            weights[:reach] += weight
        self._foreseen = [c[n:] for c in self._foreseen if len(c) > n]
        return (total / weights).astype(chunk.dtype)
