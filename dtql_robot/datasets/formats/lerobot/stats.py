"""The statistics that LeRobot normalizes by: of every episode, and of all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dtql_robot.types import Array

Stats = dict[str, Array]
"""min, max, mean, std, count (1,), and quantiles, each with the shape of a row; (3, 1, 1) for pictures."""
_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_FRAMES = 50  # of an episode, and
_PIXELS = 16  # every so many rows and columns of them are looked at, at most


def of_numbers(rows: Array) -> Stats:
    """Of (T, *shape) numbers."""
    values = rows.astype(np.float64)
    extremes = rows if rows.dtype.kind in "biu" else values
    return {
        "min": extremes.min(0),
        "max": extremes.max(0),
        "mean": values.mean(0),
        "std": values.std(0),
        "count": np.array([len(rows)]),
        **{name: np.quantile(values, share, axis=0) for name, share in _QUANTILES.items()},
    }


def of_pictures(frames: Array) -> Stats:
    """Of (T, H, W, 1 or 3) uint8, by some pixels of some frames, 0 to 1; grey counts as three equal channels."""
    every = max(1, min(frames.shape[1:3]) // 128 * 2, 1)
    sample = frames[:: max(1, -(-len(frames) // _FRAMES)), :: min(every, _PIXELS), :: min(every, _PIXELS)]
    found = of_numbers(sample.reshape(-1, sample.shape[-1]))
    channels = {k: np.broadcast_to(v, 3).reshape(3, 1, 1) / 255 for k, v in found.items() if k != "count"}
    return {**channels, "count": np.array([len(sample)])}


def merged(parts: Sequence[Mapping[str, Array]]) -> Stats:
    """Of all episodes; quantiles are the mean of theirs, weighted by their length, as in LeRobot."""
    counts = np.array([float(p["count"][0]) for p in parts])

    def average(values: Sequence[Array]) -> Array:
        return np.asarray(np.average(np.stack(values), axis=0, weights=counts))

    mean = average([p["mean"] for p in parts])
    variance = average([p["std"] ** 2 + (p["mean"] - mean) ** 2 for p in parts])
    return {
        "min": np.min([p["min"] for p in parts], axis=0),
        "max": np.max([p["max"] for p in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([int(counts.sum())]),
        **{name: average([p[name] for p in parts]) for name in _QUANTILES},
    }
