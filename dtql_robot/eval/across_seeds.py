"""What the runs of several training seeds achieve together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtql_robot.eval.intervals import seeds_interval
from dtql_robot.system.files import write_json


@dataclass(frozen=True)
class SeedsResult:
    """Success over training seeds.  runs: seed -> content of that run's results.json, all of one environment."""

    runs: Mapping[int, Mapping[str, Any]]

    @property
    def env(self) -> str:
        """The environment that all seeds were evaluated in."""
        return str(next(iter(self.runs.values()))["env"])

    @property
    def rates(self) -> list[float]:
        """Each seed's success rate."""
        return [float(found["success_rate"]) for found in self.runs.values()]

    @property
    def mean(self) -> float:
        """The mean of the seeds' success rates."""
        return statistics.fmean(self.rates)

    @property
    def ci95(self) -> tuple[float, float] | None:
        """95% interval of the mean over seeds, see `seeds_interval`; None for a single seed."""
        if len(self.runs) < 2:
            return None
        return seeds_interval(self.rates, sum(int(found["episodes"]) for found in self.runs.values()))

    def to_dict(self) -> dict[str, Any]:
        """The content of seeds.json."""
        kept = ("success_rate", "ci95", "episodes")
        return {
            "env": self.env,
            "mean_success_rate": self.mean,
            "ci95": list(self.ci95) if self.ci95 else None,
            "interval": "the wider of Student's t over training seeds and Wilson's over their episodes",
            "seeds": {str(seed): {k: found[k] for k in kept} for seed, found in self.runs.items()},
        }

    def save(self, path: Path) -> Path:
        """Write the results whole or not at all."""
        return write_json(path, self.to_dict())

    def __str__(self) -> str:
        each = ", ".join(f"{seed}: {rate:.1%}" for seed, rate in zip(self.runs, self.rates, strict=True))
        if self.ci95 is None:
            return f"{self.env}: success {self.mean:.1%} of one training seed ({each})"
        low, high = self.ci95
        return (
            f"{self.env}: mean success {self.mean:.1%} over {len(self.runs)} training seeds "
            f"(95% interval over seeds {low:.1%} to {high:.1%}); {each}"
        )
