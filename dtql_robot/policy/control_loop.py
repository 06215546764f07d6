"""One robot under a policy's control, an action at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dtql_robot.client.action_plan import ActionPlan
from dtql_robot.policy.interface import Interface
from dtql_robot.types import Array, Obs

Predict = Callable[[Obs, Sequence[np.random.Generator]], Array]


class ControlLoop:
    """Asks for a chunk when the last one is used up, and remembers frames where the policy sees several.

    Begins an episode.  Every observation and every action is checked, those of a chunk under way too.
    """

    def __init__(self, interface: Interface, frames: int, plan: ActionPlan, seed: int | None) -> None:
        self._interface, self._frames, self._plan = interface, frames, plan
        self._rng = np.random.default_rng(seed)
        self._queue: list[Array] = []
        self._past: list[dict[str, Array]] = []

    def act(self, obs: Obs, predict: Predict) -> Array:
        """The next action (A,).  obs: key -> (...), one image a call.  predict: see `types.Policy.predict`."""
        batch = {k: np.asarray(v)[None] for k, v in obs.items()}
        if self._queue or self._frames > 1:  # what `predict` does not see, or only beside other frames
            self._interface.check(batch)
        if self._frames > 1:
            batch = self._with_past(batch)
        if not self._queue:
            self._queue = list(self._plan.next(predict(batch, [self._rng])[0]))
        action = self._queue.pop(0)
        self._interface.check_actions(action, batch)
        return action

    def _with_past(self, batch: Obs) -> dict[str, Array]:
        """The observation with the last frames of each image, the first one repeated at the start of an episode."""
        images = {k: batch[k] for k in self._interface.image_keys}
        self._past = [*(self._past or [images] * self._frames)[1 - self._frames :], images]
        return {**batch, **{k: np.stack([past[k] for past in self._past], axis=1) for k in images}}
