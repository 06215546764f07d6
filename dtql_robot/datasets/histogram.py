"""Histograms for people: eight heights of bars in one line of text."""

from __future__ import annotations

import numpy as np

from dtql_robot.types import Array

BARS = "▁▂▃▄▅▆▇█"


def histogram(values: Array, bins: int = 16) -> list[int]:
    """Counts in `bins` equal parts of the range of `values` (N,); all in the first where there is one value only."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return [len(values), *[0] * (bins - 1)]
    return [int(n) for n in np.histogram(values.astype(np.float64), bins, (low, high))[0]]


def sparkline(counts: list[int]) -> str:
    """One character a bin, its height the count's share of the largest; a space where there is nothing."""
    largest = max(counts)
    return "".join(" " if n == 0 else BARS[min(len(BARS) - 1, n * len(BARS) // (largest + 1))] for n in counts)
