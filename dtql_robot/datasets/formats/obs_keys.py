"""Which of a file's observation arrays are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.errors import InputError

_BIG = 1024  # values a step from which an array of two or more dimensions counts as an image (depth, masks)


def is_image(shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether one loaded observation of this shape and type is a picture: (height, width, channels) uint8."""
    return dtype == np.uint8 and len(shape) == 3


@dataclass(frozen=True)
class ObsArray:
    """How one observation is stored: (rows, ...) shape, dtype, and whether the rows are JPEG files."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    jpeg: bool = False

    @property
    def is_image(self) -> bool:
        """Colour, depth or segmentation images, encoded or not."""
        grid = len(self.shape) >= 3
        return self.jpeg or (grid and (self.dtype == np.uint8 or int(np.prod(self.shape[1:])) >= _BIG))

    @property
    def is_numeric(self) -> bool:
        """Numbers (JPEG files are not); text and records are listed and never loaded."""
        return not self.jpeg and self.dtype.kind in "biuf"

    def __str__(self) -> str:
        return "JPEG images" if self.jpeg else f"{self.dtype} {self.shape[1:]}"


@dataclass(frozen=True)
class ObsChoice:
    """keys: loaded, in order.  left_out: key -> what it holds.  available: everything that is there."""

    keys: tuple[str, ...]
    left_out: dict[str, str]
    available: dict[str, ObsArray]


def choose(available: Mapping[str, ObsArray], requested: Sequence[str] | None, file: str) -> ObsChoice:
    """The requested keys, or every low-dimensional one.

    Images cost orders of magnitude more memory than states, so they are loaded only when asked for by name.
    InputError for a key that is not there, listing those that are.
    """
    if not available:
        raise InputError(f"{file} holds no observations.")
    if requested is None:
        keys = tuple(k for k, v in available.items() if not v.is_image and v.is_numeric)
        if not keys:
            images = ", ".join(f"{k} ({v})" for k, v in available.items())
            raise InputError(
                f"{file} holds no low-dimensional observations: {images}. Name images to load with obs_keys."
            )
    else:
        keys = tuple(dict.fromkeys([requested] if isinstance(requested, str) else requested))
        unknown = [k for k in keys if k not in available]
        if unknown or not keys:
            what = f"no observation {unknown[0]!r}" if unknown else "no observation was asked for"
            raise InputError(f"{file}: {what}; available: {', '.join(available)}.")
        for key in keys:
            if available[key].jpeg:
                raise InputError(f"{file}: observation {key!r} is stored as JPEG images, which is lossy and not "
                                 "supported. Write the dataset with jpeg_encoding=False.")  # fmt: skip
    return ObsChoice(keys, {k: str(v) for k, v in available.items() if k not in keys}, dict(available))
