"""What reading as float32 loses of numbers that are stored with more digits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from dtql_robot.types import Array, is_constant

Ranges = dict[str, tuple[Array, Array]]
"""Array name -> lowest and highest value of each entry over all episodes, in full precision."""

_ROUNDING = 1e-12  # of a value: what a computation in float64 leaves of a constant
_MOST = 3  # entries that are described
_watched: ContextVar[Ranges | None] = ContextVar("watched", default=None)


@contextmanager
def watch() -> Iterator[Ranges]:
    """Collect the ranges of all that is read inside the block."""
    ranges: Ranges = {}
    token = _watched.set(ranges)
    try:
        yield ranges
    finally:
        _watched.reset(token)


def note_range(label: str, array: Array) -> None:
    """Remember the range of numbers (rows, ...) that are about to lose digits; others are looked at as float32."""
    ranges = _watched.get()
    if ranges is None or array.dtype.itemsize <= 4 or not array.size or not array.ndim:
        return
    rows = array.reshape(len(array), -1)
    low, high = rows.min(axis=0), rows.max(axis=0)
    before = ranges.get(label)
    if before is not None and before[0].shape == low.shape:
        low, high = np.minimum(low, before[0]), np.maximum(high, before[1])
    ranges[label] = low, high


def lost(ranges: Ranges) -> tuple[str, ...]:
    """A sentence for each array with entries that change, and by too little for float32."""
    found = []
    for label, (low, high) in ranges.items():
        spread, largest = (high - low).astype(np.float64), np.maximum(-low.astype(np.float64), high.astype(np.float64))
        rounding = _ROUNDING * largest if low.dtype.kind == "f" else 0.0
        dims = np.flatnonzero((spread > rounding) & is_constant(spread / 2, largest))
        if len(dims):
            shown = ", ".join(f"entry {i} by {spread[i]:.3g} at {largest[i]:.6g}" for i in dims[:_MOST])
            found.append(
                f"{label!r} changes by too little for float32, in which it is read: {shown}"
                f"{', ...' if len(dims) > _MOST else ''}; that counts as constant. Record it from another "
                "origin, or in another unit."
            )
    return tuple(found)
