"""The last frames of each image, for policies that see several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .action_plan import Array


class FrameStack:
    """The last frames of each image, for policies that see several; the first one is repeated at an episode's start."""

    def __init__(self, keys: tuple[str, ...], frames: int) -> None:
        self.keys, self.frames = keys, frames
        self._past: list[dict[str, Array]] = []

    def __call__(self, obs: Mapping[str, Any]) -> Mapping[str, Any]:
        """obs with (frames, H, W, C) for each image (H, W, C), to be called once a step."""
        if self.frames == 1:
            return obs
        images = {key: np.asarray(obs[key]) for key in self.keys}
        self._past = [*(self._past or [images] * self.frames)[1 - self.frames :], images]
        return {**obs, **{key: np.stack([past[key] for past in self._past]) for key in images}}
