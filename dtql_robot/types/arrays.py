"""Arrays: the names of their kinds, and what an array shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Frame = NDArray[np.uint8]
"""(H, W, 3) colours, 0 to 255."""
Vector = NDArray[np.float64]
Obs = Mapping[str, Array]

_PICTURE = 1024  # values from which an array of two or more axes, or any bytes, are taken for a picture
_CHANNELS = (1, 3, 4)
_SMALLEST_SIDE = 8  # pixels, of a picture with a channel axis


def is_image(shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether one observation of this shape and type is a picture: colour, grey, depth, masks, several frames.

    Everything else is low-dimensional and may be flattened.  A picture is uint8 with two or more axes, or has 1024
    values or more in two or more axes (or in bytes), or is (height, width, channels) in either order.
    """
    shape, size = tuple(shape), math.prod(shape)
    if dtype == np.uint8:
        return len(shape) >= 2 or size >= _PICTURE
    if len(shape) == 3 and sorted(shape)[1] >= _SMALLEST_SIDE and (shape[0] in _CHANNELS or shape[2] in _CHANNELS):
        return True
    return len(shape) >= 2 and size >= _PICTURE


def image_fault(shape: Sequence[int], dtype: np.dtype[Any]) -> str | None:
    """Why no encoder reads a picture of this shape and type, with the remedy; None for (H, W, 1 or 3) uint8."""
    found = f"{dtype} of shape {tuple(shape)}"
    if len(shape) == 3 and shape[2] in (1, 3):
        if dtype == np.uint8:
            return None
        scaled = "scaled to 0 to 255 as uint8 in a new file"
        return f"{found}; expected uint8 images, 0 to 255. Write them {scaled}, or leave the key out."
    if len(shape) == 3 and shape[0] in (1, 3):
        return f"{found}, channels first; expected (height, width, channels). Write np.moveaxis(images, 1, -1)."
    if len(shape) == 2 and dtype == np.uint8:
        return f"{found}, without channels; expected (height, width, 1). Write images[..., None]."
    return (
        f"{found}; images are (height, width, 1 or 3) uint8. Leave the key out; if these are plain numbers rather "
        "than an image, write them flat, with one axis per step."
    )


def is_constant(spread: Array | float, largest: Array | float) -> Array:
    """Whether numbers that differ by `spread` and are at most `largest` in size are one value up to float32's rounding.

    Elementwise.  The one rule of scaling and of what users are told: relative, so that no unit is too small for it.
    """
    limits = np.finfo(np.float32)
    return np.asarray(spread) <= np.maximum(_ROUNDINGS * limits.eps * np.asarray(largest, np.float64), limits.tiny)


_ROUNDINGS = 16  # what a short computation in float32 may add up to, in units in the last place
