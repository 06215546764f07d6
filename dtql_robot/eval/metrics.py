"""Success rates with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dtql_robot.envs.info import SuccessRule

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


def episode_success(successes: Sequence[bool], rule: SuccessRule) -> bool:
    """An episode's success from its steps' success: its last step's ("last") or any step's ("any")."""
    return bool(successes[-1]) if rule == "last" else any(successes)


def first_success(successes: Sequence[bool]) -> int | None:
    """Steps taken until the success signal first came on (1 = after the first action); None if it never did."""
    return next((i + 1 for i, success in enumerate(successes) if success), None)
