"""Whether one policy is better than another: success rates side by side, and a paired test over shared episodes.

Policies that were evaluated with the same seeds met the same start states, so that the difference is tested where
it shows: in the episodes that one of them solves and the other does not.  If neither is better, such an episode is as
likely to go one way as the other, and McNemar's exact test is the binomial test of their counts.
Where the environment reports no success, the returns are compared instead (`paired_returns`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dtql_robot.errors import InputError
from dtql_robot.eval.inline import shown
from dtql_robot.eval.intervals import bootstrap_interval, wilson_interval
from dtql_robot.eval.paired_returns import paired_returns
from dtql_robot.system.frames import data_frame

if TYPE_CHECKING:
    import pandas

SIGNIFICANT = 0.05
HEADER: tuple[str, ...] = ("run", "success", "95% interval", "episodes", "return", "steps to success", "decisions/s")
RETURN_HEADER: tuple[str, ...] = ("run", "return", "95% interval", "episodes", "normalized", "decisions/s")


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
    """One evaluated run in the table.  successes, ci95: None where the environment reports no success."""

    name: str
    env: str
    episodes: int
    successes: int | None
    ci95: tuple[float, float] | None
    mean_return: float
    mean_time_to_success: float | None
    policy_hz: float
    return_ci95: tuple[float, float] | None = None
    normalized_score: float | None = None

    @property
    def success_rate(self) -> float | None:
        """The share of episodes that succeeded."""
        return None if self.successes is None else self.successes / self.episodes


@dataclass(frozen=True)
class Pair:
    """Two runs over their common seeds.

    only_a, only_b  episodes that a, or b, solves alone; of returns: in which it earns more
    difference      of the success rates, or of the mean returns
    p_value         McNemar's, or the sign-flip test's of returns
    p_adjusted      Holm's over all pairs of the table
    interval        95% bootstrap interval of the difference of returns
    """

    a: str
    b: str
    common: int
    only_a: int
    only_b: int
    difference: float
    p_value: float
    p_adjusted: float
    measure: Literal["success", "return"] = "success"
    interval: tuple[float, float] | None = None

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
        size = f"{abs(self.difference):.1%}" if self.measure == "success" else f"return {abs(self.difference):.2f}"
        said = f"{size} over {self.common} common seeds, p = {self.p_adjusted:.3g}"
        if self.interval is not None:
            low, high = self.interval if self.difference > 0 else (-self.interval[1], -self.interval[0])
            said += f", 95% interval {low:.2f} to {high:.2f}"
        if not self.significant:
            return f"{self.a} and {self.b}: the difference is not significant ({said})."
        return f"{better} is better than {worse} ({said})."


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, and each pair of them tested over the seeds that both played.

    video: of the policies in the same episodes, where one was made; video_note: what is odd about it.
    """

    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    video: Path | None = None
    video_note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The content of `compare --json`."""
        pairs = [{**vars(p), "significant": p.significant, "verdict": p.verdict} for p in self.pairs]
        rows = [{**vars(r), "success_rate": r.success_rate} for r in self.rows]
        test = "exact McNemar" if self.by_success else "sign-flip test of the returns"
        found = {"runs": rows, "pairs": pairs, "test": f"{test}, Holm-adjusted", "significance": SIGNIFICANT}
        return found if self.video is None else {**found, "video": str(self.video), "video_note": self.video_note}

    @property
    def by_success(self) -> bool:
        """Whether success is compared; otherwise the return, as one of the runs reports no success."""
        return all(row.successes is not None for row in self.rows)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self).splitlines()[0]})"

    def _repr_html_(self) -> str:
        """The words of `str` and the video, for notebooks."""
        return shown(str(self), [self.video] if self.video else [])

    def to_frame(self) -> pandas.DataFrame:
        """One row a run.  InputError where pandas is missing."""
        return data_frame([{**vars(row), "success_rate": row.success_rate} for row in self.rows])

    def __str__(self) -> str:
        shown = (HEADER, _cells) if self.by_success else (RETURN_HEADER, _return_cells)
        table = [shown[0], *(shown[1](row) for row in self.rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        lines = [
            "  ".join(_pad(cell, w, i) for i, (cell, w) in enumerate(zip(line, widths, strict=True))).rstrip()
            for line in table
        ]
        return "\n".join([*lines, "", *(pair.verdict for pair in self.pairs)])


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def _return_cells(row: Row) -> tuple[str, ...]:
    low_high = "unknown" if row.return_ci95 is None else f"{row.return_ci95[0]:.2f} to {row.return_ci95[1]:.2f}"
    score = "unknown" if row.normalized_score is None else f"{row.normalized_score:.1f}"
    return row.name, f"{row.mean_return:.2f}", low_high, str(row.episodes), score, f"{row.policy_hz:.0f}"


def _cells(row: Row) -> tuple[str, ...]:
    low, high = row.ci95 or (0.0, 1.0)
    time = "never" if row.mean_time_to_success is None else f"{row.mean_time_to_success:.0f}"
    return (
        row.name,
        f"{row.success_rate or 0.0:.1%}",
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
    rows = tuple(_row(name, found) for name, found in results.items())
    pair = _by_success if all(row.successes is not None for row in rows) else _by_return
    pairs = [pair(a, b, results[a], results[b]) for i, a in enumerate(names) for b in names[i + 1 :]]
    adjusted = holm([found.p_value for found in pairs])
    return Comparison(rows, tuple(replace(found, p_adjusted=p) for found, p in zip(pairs, adjusted, strict=True)))


def _by_success(a: str, b: str, of_a: Mapping[str, Any], of_b: Mapping[str, Any]) -> Pair:
    n, only_a, only_b = _counts(of_a, of_b)
    p = mcnemar(only_a, only_b)
    return Pair(a, b, n, only_a, only_b, (only_a - only_b) / n if n else 0.0, p, p)


def _by_return(a: str, b: str, of_a: Mapping[str, Any], of_b: Mapping[str, Any]) -> Pair:
    found = paired_returns(of_a, of_b)
    n, p = found.common, found.p_value
    return Pair(a, b, n, found.more_a, found.more_b, found.difference, p, p, "return", found.interval)


def _counts(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[int, int, int]:
    """(common seeds, those where only a succeeds, those where only b does)."""
    won_a, won_b = ({e["seed"]: bool(e["success"]) for e in found["per_episode"]} for found in (a, b))
    common = won_a.keys() & won_b.keys()
    only_a = sum(won_a[seed] and not won_b[seed] for seed in common)
    only_b = sum(won_b[seed] and not won_a[seed] for seed in common)
    return len(common), only_a, only_b


def _row(name: str, found: Mapping[str, Any]) -> Row:
    episodes = found["per_episode"]
    told = found.get("success_rate", 0.0) is not None
    successes = sum(bool(e["success"]) for e in episodes)
    returns = [e["return"] for e in episodes if not e.get("error")]
    return Row(
        name=name,
        env=found["env"],
        episodes=len(episodes),
        successes=successes if told else None,
        ci95=wilson_interval(successes, len(episodes)) if told else None,
        return_ci95=bootstrap_interval(returns) if len(returns) > 1 else None,
        normalized_score=found.get("normalized_score"),
        mean_return=found["mean_return"],
        mean_time_to_success=found.get("mean_time_to_success"),
        policy_hz=found["policy_hz"],
    )
