"""Frames of an environment that is not MuJoCo: what its own `render` returns, as the frame that was requested."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from dtql_robot.errors import InputError
from dtql_robot.types import Frame


class OwnFrames:
    """Frames of (height, width, 3) uint8 from `env.render()`, whatever size, channels and range it draws in."""

    def __init__(self, env: gymnasium.Env, spec: str, width: int, height: int) -> None:
        self._env, self._spec, self._size = env, spec, (width, height)

    def frame(self) -> Frame:
        """The scene as it is now.  InputError where `render` gives no picture or fails."""
        try:
            drawn = self._env.render()
        except Exception as error:  # whatever the environment's author let through
            raise InputError(f"{self._spec}: its own render failed: {type(error).__name__}: {error}.") from error
        return fit_frame(as_picture(drawn, self._spec), *self._size)

    def close(self) -> None:
        """Nothing to free: the environment owns its renderer."""


def as_picture(drawn: Any, spec: str) -> Frame:
    """(H, W, 3) uint8 of what a `render` returned: colour, grey or with transparency, 0 to 255 or 0.0 to 1.0."""
    if isinstance(drawn, (list, tuple)) and drawn and np.ndim(drawn[-1]) >= 2:
        drawn = drawn[-1]  # all frames since the last call
    try:
        picture = np.asarray(drawn)
    except ValueError:
        picture = np.empty(0)
    if picture.ndim == 2:
        picture = np.stack([picture] * 3, axis=-1)
    if picture.ndim != 3 or picture.shape[2] not in (1, 3, 4) or not picture.size or picture.dtype.kind not in "buif":
        raise InputError(
            f"{spec}: its own render returned {_describe(drawn)}; expected a picture "
            "(height, width, 3) with render_mode 'rgb_array'. Leave out the video."
        )
    if picture.dtype.kind == "f":
        picture = picture * 255 if float(np.nanmax(picture)) <= 1.0 else picture
    elif picture.dtype.kind == "b":
        picture = picture * np.uint8(255)
    picture = np.nan_to_num(picture).clip(0, 255).astype(np.uint8)
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture[..., :3]


def fit_frame(picture: Frame, width: int, height: int) -> Frame:
    """`picture` at the size asked for, its proportions kept and the rest black.  (H, W, 3) to (height, width, 3)."""
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return np.ascontiguousarray(picture)
    from PIL import Image

    scale = min(width / columns, height / rows)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    small = np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BILINEAR))
    frame = np.zeros((height, width, 3), np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    frame[top : top + size[1], left : left + size[0]] = small
    return frame


def _describe(drawn: Any) -> str:
    shape = getattr(drawn, "shape", None)
    return f"an array of shape {shape}" if shape is not None else f"{type(drawn).__name__}"
