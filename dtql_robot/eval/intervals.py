"""Success rates and returns with their uncertainty."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from dtql_robot.env_record import SuccessRule

Z_95 = 1.959963984540054  # the 97.5% quantile of the standard normal


def wilson_interval(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval (1927) for a rate observed as `successes` of `n`, by default at 95%.

    Unlike rate +- z * standard error it stays inside [0, 1] and has width at 0 of n and n of n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    rate = successes / n
    scale = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5% quantiles of Student's t with 1 to 30 degrees of freedom."""


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95% interval for the mean of two or more independent values, such as rates of several training seeds.

    It covers what happens with another training seed, which an interval over one run's episodes does not.
    """
    if len(values) < 2:
        raise ValueError(f"expected two or more values, got {len(values)}")
    t = T_975[len(values) - 2] if len(values) - 1 <= len(T_975) else Z_95
    mean, half = statistics.fmean(values), t * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def seeds_interval(rates: Sequence[float], episodes: int) -> tuple[float, float]:
    """95% interval for the mean success rate of training seeds: the wider of two, within [0, 1].

    Student's over the seeds, where there are two or more, and Wilson's over all their episodes: seeds that agree by
    chance, as 0 of 9 three times does, have no spread, though another episode could still succeed.
    rates: of each seed.  episodes: of all seeds together.
    """
    mean = statistics.fmean(rates)
    low, high = wilson_interval(round(mean * episodes), episodes)
    if len(rates) > 1:
        over_seeds = mean_interval(rates)
        low, high = min(low, max(0.0, over_seeds[0])), max(high, min(1.0, over_seeds[1]))
    return low, high


RESAMPLES = 10_000
_AT_ONCE = 2**20  # numbers drawn at once


def bootstrap_interval(*strata: Sequence[float]) -> tuple[float, float]:
    """95% interval of a mean by the percentile bootstrap, always from the same random draws.

    strata: values that are resampled among themselves, such as the episodes of each training seed; the interval is of
    the mean of their means.  One value has no spread: its interval is the value itself.
    """
    if not strata or not all(len(values) for values in strata):
        raise ValueError("expected one value or more in each of one stratum or more")
    rng = np.random.default_rng(0)
    means = np.mean([_resampled_means(np.asarray(values, np.float64), rng) for values in strata], axis=0)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _resampled_means(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RESAMPLES means of as many values, drawn with replacement."""
    size = len(values)
    rows = max(1, _AT_ONCE // size)
    blocks = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    means = np.concatenate([values[rng.integers(size, size=(count, size))].mean(axis=1) for count in blocks])
    return np.clip(means, values.min(), values.max())  # a rounded mean may lie outside


def returns_interval(seeds: Sequence[Sequence[float]]) -> tuple[float, float]:
    """95% interval for the mean return of training seeds: the wider of two, as for success rates.

    Student's over the seeds' means, where there are two or more, and the bootstrap's over the episodes of each seed.
    seeds: the returns of each seed's episodes.
    """
    low, high = bootstrap_interval(*seeds)
    if len(seeds) > 1:
        over_seeds = mean_interval([statistics.fmean(returns) for returns in seeds])
        low, high = min(low, over_seeds[0]), max(high, over_seeds[1])
    return low, high


def episode_success(successes: Sequence[bool | None], rule: SuccessRule) -> bool | None:
    """An episode's success from its steps' success: its last step's ("last") or any step's ("any").

    None where no step reports any.
    """
    if None in successes:
        return None
    return bool(successes[-1]) if rule == "last" else any(successes)


def ends_in_success(successes: Sequence[bool | None], rule: SuccessRule) -> bool | None:
    """Whether an episode's last step succeeds, where that is not what counts; None where it is, or none is told."""
    return None if rule == "last" or None in successes else any(successes[-1:])


def first_success(successes: Sequence[bool | None]) -> int | None:
    """Steps taken until the success signal first came on (1 = after the first action); None if it never did."""
    return next((i + 1 for i, success in enumerate(successes) if success), None)
