"""The one-step policy's mean as a policy of its own that needs NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtql_robot.policy.interface import Interface
from dtql_robot.policy.numpy_mean import NumpyMean
from dtql_robot.types import Array, Obs


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
        return self.interface.action_dim

    def predict(self, obs: Obs, rngs: Sequence[np.random.Generator]) -> Array:
        """See `types.Policy`; the mean draws nothing from rngs."""
        self.interface.check(obs)
        return self.interface.action_norm.invert(self.mean(self.interface.low_dim(obs)))
