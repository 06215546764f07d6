"""Whether one policy earns more than another: returns of the episodes that both played, without a success signal.

The interval of the mean difference is the bootstrap's over pairs.  The test is the sign-flip test, of which McNemar's
exact test is the case of yes and no: if neither policy is better, each difference is as likely to be its negative.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.eval.intervals import RESAMPLES, bootstrap_interval

EXACT_UP_TO = 13  # differences whose 2**13 = 8192 combinations of signs are all counted


@dataclass(frozen=True)
class PairedReturns:
    """Returns of a minus those of b.

    common      seeds that both played to the end
    more_a      episodes in which a earns more; more_b: in which b does
    difference  the mean; interval: its 95% bootstrap interval, None for fewer than two pairs
    p_value     of the two-sided sign-flip test
    """

    common: int
    more_a: int
    more_b: int
    difference: float
    interval: tuple[float, float] | None
    p_value: float


def paired_returns(a: Mapping[str, Any], b: Mapping[str, Any]) -> PairedReturns:
    """Compare two contents of results.json over the seeds that both played to the end."""
    of_a, of_b = ({e["seed"]: e["return"] for e in found["per_episode"] if not e.get("error")} for found in (a, b))
    gains = [float(of_a[seed] - of_b[seed]) for seed in of_a if seed in of_b]
    return PairedReturns(
        common=len(gains),
        more_a=sum(gain > 0 for gain in gains),
        more_b=sum(gain < 0 for gain in gains),
        difference=float(np.mean(gains)) if gains else 0.0,
        interval=bootstrap_interval(gains) if len(gains) > 1 else None,
        p_value=sign_flip(gains),
    )


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p-value of the sign-flip test that paired differences are around 0.

    All combinations of signs are counted for up to EXACT_UP_TO differences other than 0; beyond that a sample of them,
    always the same, among which the observed one counts too.
    """
    values = np.asarray([d for d in differences if d != 0.0], np.float64)
    if not len(values):
        return 1.0
    reached = abs(values.sum()) * (1 - 1e-12)  # sums that differ by rounding alone are equal
    if len(values) <= EXACT_UP_TO:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(values))))
        return float(np.mean(np.abs(signs @ values) >= reached))
    rng, beyond = np.random.default_rng(0), 1
    for _ in range(RESAMPLES // 100):
        signs = rng.integers(2, size=(100, len(values))) * 2.0 - 1.0
        beyond += int(np.sum(np.abs(signs @ values) >= reached))
    return beyond / (RESAMPLES + 1)
