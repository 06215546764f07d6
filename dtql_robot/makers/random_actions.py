"""Level "random": actions drawn evenly from their bounds, whatever is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dtql_robot.errors import InputError
from dtql_robot.types import Array, Obs


class RandomActions:
    """A `types.Policy` of independent uniform actions.  low, high: (A,); InputError where they are not finite."""

    n_action_steps = 1

    def __init__(self, low: Array, high: Array, env: str) -> None:
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise InputError(f"{env} sets no bounds for its actions, so random ones cannot be drawn.")
        self.action_dim = len(low)
        self._low, self._high = low, high

    def predict(self, obs: Obs, rngs: Sequence[np.random.Generator]) -> Array:
        """See `types.Policy`."""
        return np.stack([rng.uniform(self._low, self._high)[None] for rng in rngs]).astype(np.float32)
