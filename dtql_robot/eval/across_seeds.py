"""What the runs of several training seeds achieve together."""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtql_robot.eval.intervals import returns_interval, seeds_interval
from dtql_robot.system.files import write_json


@dataclass(frozen=True)
class SeedsResult:
    """Success, or the return if an environment reports none, over training seeds.

    runs: seed -> content of that run's results.json, all of one environment.
    """

    runs: Mapping[int, Mapping[str, Any]]

    @property
    def env(self) -> str:
        """The environment that all seeds were evaluated in."""
        return str(next(iter(self.runs.values()))["env"])

    @property
    def reports_success(self) -> bool:
        """Whether all seeds' evaluations tell success; otherwise the return is what is averaged."""
        return all(found["success_rate"] is not None for found in self.runs.values())

    @property
    def values(self) -> list[float]:
        """Each seed's success rate, or mean return."""
        key = "success_rate" if self.reports_success else "mean_return"
        return [float(found[key]) for found in self.runs.values()]

    @property
    def mean(self) -> float:
        """The mean of the seeds' values."""
        return statistics.fmean(self.values)

    @property
    def scores(self) -> list[float]:
        """Each seed's normalized score; empty where one has none."""
        found = [run.get("normalized_score") for run in self.runs.values()]
        return [] if None in found else [float(score) for score in found if score is not None]

    @property
    def ci95(self) -> tuple[float, float] | None:
        """95% interval of the mean over seeds, see `seeds_interval` and `returns_interval`; None for a single seed."""
        if len(self.runs) < 2:
            return None
        if self.reports_success:
            return seeds_interval(self.values, sum(int(found["episodes"]) for found in self.runs.values()))
        played = [played_returns(found) for found in self.runs.values()]
        return returns_interval(played) if all(played) else None

    def to_dict(self) -> dict[str, Any]:
        """The content of seeds.json."""
        kept = ("success_rate", "ci95", "episodes", "mean_return", "return_ci95", "normalized_score")
        within = "Wilson's over" if self.reports_success else "the bootstrap's over"
        return {
            "env": self.env,
            "mean_success_rate": self.mean if self.reports_success else None,
            **({} if self.reports_success else {"mean_return": self.mean}),
            **({"mean_normalized_score": statistics.fmean(self.scores)} if self.scores else {}),
            "ci95": list(self.ci95) if self.ci95 else None,
            "interval": f"the wider of Student's t over training seeds and {within} their episodes",
            "seeds": {str(seed): {k: found[k] for k in kept if k in found} for seed, found in self.runs.items()},
        }

    def save(self, path: Path) -> Path:
        """Write the results whole or not at all."""
        return write_json(path, self.to_dict())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self).splitlines()[0]})"

    def _repr_html_(self) -> str:
        """The words of `str` for notebooks."""
        return f"<pre>{html.escape(str(self))}</pre>"

    def __str__(self) -> str:
        what, show = ("success", "{:.1%}") if self.reports_success else ("return", "{:.2f}")
        mean = show.format(self.mean)
        each = ", ".join(f"{seed}: {show.format(value)}" for seed, value in zip(self.runs, self.values, strict=True))
        score = f"; normalized score {statistics.fmean(self.scores):.1f}" if self.scores else ""
        if len(self.runs) < 2:
            return f"{self.env}: {what} {mean} of one training seed ({each}){score}"
        between = ""
        if self.ci95 is not None:
            between = f" (95% interval over seeds {show.format(self.ci95[0])} to {show.format(self.ci95[1])})"
        return f"{self.env}: mean {what} {mean} over {len(self.runs)} training seeds{between}; {each}{score}"


def played_returns(found: Mapping[str, Any]) -> list[float]:
    """The returns of the episodes of a results.json that were played to their end."""
    return [float(episode["return"]) for episode in found["per_episode"] if not episode.get("error")]
