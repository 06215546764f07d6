"""Environments of the user's own, made as `tests.envs.odd_envs:Odd-v0`: flags and frames of every kind."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

FLAGS: dict[str, Any] = {
    "true": True,
    "numpy-true": np.True_,
    "one": 1.0,
    "zero-dim": np.array(1),
    "false": False,
    "numpy-zero": np.float32(0),
    "nan": float("nan"),
    "numpy-nan": np.float32("nan"),
    "none": None,
    "text": "False",
    "array": np.array([True, False]),
    "one-in-array": np.array([True]),
    "list": [],
    "half": 0.5,
    "two": 2,
}
RNG = np.random.default_rng(0)
PICTURE = np.kron(RNG.integers(0, 255, (6, 8, 3)), np.ones((10, 10, 1))).astype(np.uint8)
FRAMES: dict[str, Any] = {
    "as asked": PICTURE,
    "large": np.kron(PICTURE, np.ones((5, 5, 1), np.uint8)),
    "transparent": np.concatenate([PICTURE, np.full((60, 80, 1), 255, np.uint8)], axis=2),
    "grey": PICTURE[..., 0],
    "grey with axis": PICTURE[..., :1],
    "float": PICTURE / 255.0,
    "float 255": PICTURE.astype(np.float32),
    "list": [PICTURE, PICTURE],
    "none": None,
    "text": "window",
    "empty": np.zeros((0, 0, 3), np.uint8),
    "empty list": [],
    "five channels": np.zeros((60, 80, 5), np.uint8),
}


class Odd(gymnasium.Env):
    """A point that never moves."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = spaces.Box(-2, 2, (4,), np.float32)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(
        self, render_mode: str | None = None, flag: str = "false", key: str = "success", frame: str = "as asked"
    ) -> None:
        self.render_mode, self._flag, self._key, self._frame = render_mode, flag, key, frame
        if frame == "broken":
            raise RuntimeError("boom in init")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return np.zeros(4, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        return np.zeros(4, np.float32), 0.0, False, False, {self._key: FLAGS[self._flag]}

    def render(self) -> Any:
        if self._frame == "raises":
            raise OSError("no window")
        return FRAMES[self._frame]


if "OddFlags-v0" not in gymnasium.registry:
    gymnasium.register("OddFlags-v0", entry_point=Odd, max_episode_steps=5)
