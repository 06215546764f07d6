"""Is one policy better than another?  Success rates side by side and a paired test over the episodes both played.

Policies that were evaluated with the same seeds met the same start states, so that the difference is tested where
it shows: in the episodes that one of them solves and the other does not.  If neither is better, such an episode is as
likely to go one way as the other, and McNemar's exact test is the binomial test of their counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dtql_robot.errors import InputError
from dtql_robot.eval.intervals import wilson_interval

SIGNIFICANT = 0.05


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p-value of McNemar's exact test: `only_a` pairs where a alone succeeds, `only_b` where b alone does."""
    if min(only_a, only_b) < 0:
        raise ValueError(f"expected counts of at least 0, got {only_a} and {only_b}")
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n) if n else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction (1979): p-values that hold when several comparisons are made at once."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


@dataclass(frozen=True)
class Row:
    """One evaluated run in the table."""

    name: str
    env: str
    episodes: int
    successes: int
    ci95: tuple[float, float]
    mean_return: float
    mean_time_to_success: float | None
    policy_hz: float


@dataclass(frozen=True)
class Pair:
    """Two runs over their common seeds.  p_value: McNemar's; p_adjusted: Holm's over all pairs of the table."""

    a: str
    b: str
    common: int
    only_a: int
    only_b: int
    difference: float
    p_value: float
    p_adjusted: float

    @property
    def significant(self) -> bool:
        """Whether the adjusted p-value is below 0.05."""
        return self.p_adjusted < SIGNIFICANT

    @property
    def verdict(self) -> str:
        """The comparison in a sentence."""
        if self.common == 0:
            return f"{self.a} and {self.b} share no seed: evaluate both with the same --seed to compare them."
        better, worse = (self.a, self.b) if self.difference > 0 else (self.b, self.a)
        said = f"{abs(self.difference):.1%} over {self.common} common seeds, p = {self.p_adjusted:.3g}"
        if not self.significant:
            return f"{self.a} and {self.b}: the difference is not significant ({said})."
        return f"{better} is better than {worse} ({said})."


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, and each pair of them tested over the seeds that both played."""

    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]

    def to_dict(self) -> dict[str, Any]:
        """The content of `compare --json`."""
        pairs = [{**vars(p), "significant": p.significant, "verdict": p.verdict} for p in self.pairs]
        rows = [{**vars(r), "ci95": list(r.ci95), "success_rate": r.successes / r.episodes} for r in self.rows]
        return {"runs": rows, "pairs": pairs, "test": "exact McNemar, Holm-adjusted", "significance": SIGNIFICANT}

    def __str__(self) -> str:
        header = ("run", "success", "95% interval", "episodes", "return", "steps to success", "decisions/s")
        table = [header, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(header))]
        lines = ["  ".join(_pad(cell, w, i) for i, (cell, w) in enumerate(zip(line, widths, strict=True))).rstrip()
                 for line in table]  # fmt: skip
        return "\n".join([*lines, "", *(pair.verdict for pair in self.pairs)])


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def _cells(row: Row) -> tuple[str, ...]:
    low, high = row.ci95
    time = "never" if row.mean_time_to_success is None else f"{row.mean_time_to_success:.0f}"
    return (
        row.name,
        f"{row.successes / row.episodes:.1%}",
        f"{low:.1%} to {high:.1%}",
        str(row.episodes),
        f"{row.mean_return:.2f}",
        time,
        f"{row.policy_hz:.0f}",
    )


def compare(results: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """Compare evaluations.  results: name -> content of results.json, two or more, all of one environment."""
    if len(results) < 2:
        raise InputError(f"A comparison needs at least two runs, found {len(results)}.")
    envs = {name: found["env"].partition("+")[0] for name, found in results.items()}  # observations may differ
    if len(set(envs.values())) > 1:
        listed = ", ".join(f"{name} in {env}" for name, env in envs.items())
        raise InputError(f"Runs are compared in one environment; these were evaluated in several: {listed}.")
    names = list(results)
    raw = [(a, b, *_counts(results[a], results[b])) for i, a in enumerate(names) for b in names[i + 1 :]]
    adjusted = holm([mcnemar(only_a, only_b) for *_, only_a, only_b in raw])
    pairs = [
        Pair(a, b, n, only_a, only_b, (only_a - only_b) / n if n else 0.0, mcnemar(only_a, only_b), p)
        for (a, b, n, only_a, only_b), p in zip(raw, adjusted, strict=True)
    ]
    return Comparison(tuple(_row(name, found) for name, found in results.items()), tuple(pairs))


def _counts(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[int, int, int]:
    """(common seeds, those where only a succeeds, those where only b does)."""
    won_a, won_b = ({e["seed"]: bool(e["success"]) for e in found["per_episode"]} for found in (a, b))
    common = won_a.keys() & won_b.keys()
    only_a = sum(won_a[seed] and not won_b[seed] for seed in common)
    only_b = sum(won_b[seed] and not won_a[seed] for seed in common)
    return len(common), only_a, only_b


def _row(name: str, found: Mapping[str, Any]) -> Row:
    episodes = found["per_episode"]
    successes = sum(bool(e["success"]) for e in episodes)
    return Row(
        name=name,
        env=found["env"],
        episodes=len(episodes),
        successes=successes,
        ci95=wilson_interval(successes, len(episodes)),
        mean_return=found["mean_return"],
        mean_time_to_success=found.get("mean_time_to_success"),
        policy_hz=found["policy_hz"],
    )
