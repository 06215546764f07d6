"""One number for a method over several tasks and seeds, with its interval, as Agarwal et al. (2021) recommend.

The interquartile mean (IQM) leaves the lowest and the highest quarter of all runs out: less is decided by one lucky or
broken run than in the mean, and by more runs than in the median.  Its interval comes from a stratified bootstrap: the
runs of each task are resampled among themselves, for a task is chosen and a seed is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from dtql_robot.types import Array

RESAMPLES = 10_000
_CUT = 0.25  # of the runs, at either end
_AT_ONCE = 2**20  # numbers drawn at once


def interquartile_mean(values: ArrayLike) -> Array:
    """Mean of the values without the lowest and the highest quarter, along the last axis.

    Of n values floor(n / 4) are left out at either end: fewer than four are all counted.
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=-1)
    out = int(_CUT * ordered.shape[-1])
    return np.asarray(ordered[..., out : ordered.shape[-1] - out].mean(axis=-1))


def mean(values: ArrayLike) -> Array:
    """The mean along the last axis."""
    return np.asarray(np.asarray(values, np.float64).mean(axis=-1))


def over_tasks(
    tasks: Sequence[Sequence[float]], statistic: Callable[[ArrayLike], Array] = interquartile_mean
) -> tuple[float, tuple[float, float] | None]:
    """(statistic of all runs of all tasks, its 95% interval by the stratified percentile bootstrap).

    tasks: of each task the scores of its training seeds.  There is no interval where no task has two seeds or more.
    statistic: reduces the last axis.  The draws are always the same.  ValueError without a run.
    """
    scores = [np.asarray(task, np.float64) for task in tasks]
    if not scores or not all(len(task) for task in scores):
        raise ValueError("expected one score or more of each of one task or more")
    value = float(statistic(np.concatenate(scores)))
    if max(map(len, scores)) < 2:
        return value, None
    rng = np.random.default_rng(0)
    total = sum(map(len, scores))
    rows = max(1, _AT_ONCE // total)
    drawn = [
        statistic(np.concatenate([task[rng.integers(len(task), size=(count, len(task)))] for task in scores], axis=1))
        for start in range(0, RESAMPLES, rows)
        for count in (min(rows, RESAMPLES - start),)
    ]
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    return value, (float(low), float(high))
