"""A point that is to be moved to a goal."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

REACH = {"reach": 0.5, "reach-far": 1.0}
"""Task -> how far from the middle the goal may be."""


class PointEnv(gymnasium.Env):
    """An action moves the point by at most 0.1 along each axis."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10, "success_rule": "last"}  # noqa: RUF012

    def __init__(self, reach: float, render_mode: str | None = None) -> None:
        self.reach, self.render_mode = reach, render_mode
        box = spaces.Box(-2.0, 2.0, (2,), np.float32)
        self.observation_space = spaces.Dict({"position": box, "goal": box})
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.position = self.goal = np.zeros(2, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """A start near the middle and a goal."""
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-0.1, 0.1, 2).astype(np.float32)
        self.goal = self.np_random.uniform(-self.reach, self.reach, 2).astype(np.float32)
        return self._obs(), {}

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """`info["success"]` is what dtql-robot counts."""
        self.position = np.clip(self.position + 0.1 * np.asarray(action, np.float32), -2, 2)
        distance = float(np.linalg.norm(self.position - self.goal))
        return self._obs(), -distance, False, False, {"success": distance < 0.1}

    def _obs(self) -> dict[str, Any]:
        return {"position": self.position.copy(), "goal": self.goal.copy()}

    def render(self) -> Any:
        """(64, 64, 3) uint8: the goal green, the point white."""
        frame = np.zeros((64, 64, 3), np.uint8)
        for place, colour in ((self.goal, (0, 160, 0)), (self.position, (255, 255, 255))):
            column, row = np.clip((place + 1.0) * 32, 2, 61).astype(int)
            frame[61 - row : 65 - row, column - 2 : column + 2] = colour
        return frame


def make(task: str, **kwargs: Any) -> gymnasium.Env:
    """The entry point of `dtql_robot.envs`: the environment of "point:TASK"."""
    if task not in REACH:
        raise ValueError(f"there is no task {task!r}, only {', '.join(REACH)}")
    return TimeLimit(PointEnv(REACH[task], **kwargs), 25)


def make_far() -> gymnasium.Env:
    """The same without an entry point: `--env point_arm.env:make_far`."""
    return make("reach-far")
