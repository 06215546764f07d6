"""Many evaluated runs as one table and one figure: tasks x methods, over training seeds."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtql_robot.eval.intervals import seeds_interval


@dataclass(frozen=True)
class Cell:
    """One method on one task.

    rates          success rate of each training seed, in the order of `seeds`
    episodes       evaluation episodes of each seed
    train_seconds  wall time of each seed's training
    decision_ms    time of one forward pass at batch 1, of each seed
    """

    task: str
    method: str
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    episodes: int
    train_seconds: tuple[float, ...]
    decision_ms: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean success rate over training seeds."""
        return statistics.fmean(self.rates)

    @property
    def interval(self) -> tuple[float, float]:
        """95%: the wider of Student's interval over training seeds and Wilson's over all episodes."""
        return seeds_interval(self.rates, self.episodes * len(self.rates))


def gather(records: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """The small files that `bench` writes a run (as dicts), in any order, as cells: tasks and methods in the order of
    their first record, training seeds ascending."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["task"], record["method"]), []).append(record)
    tasks = list(dict.fromkeys(task for task, _ in groups))
    return [
        _cell(task, method, sorted(runs, key=_seed))
        for (task, method), runs in sorted(groups.items(), key=lambda item: tasks.index(item[0][0]))
    ]


def _seed(record: Mapping[str, Any]) -> int:
    return record["run"]["config"]["seed"]


def _cell(task: str, method: str, runs: Sequence[Mapping[str, Any]]) -> Cell:
    results = [run["results"] for run in runs]
    return Cell(
        task,
        method,
        seeds=tuple(map(_seed, runs)),
        rates=tuple(r["success_rate"] for r in results),
        episodes=results[0]["episodes"],
        train_seconds=tuple(math.nan if run["train_seconds"] is None else run["train_seconds"] for run in runs),
        decision_ms=tuple(1e3 / r["policy_hz"] for r in results),
    )


HEADER = ("task", "method", "success", "95% interval", "each seed", "seeds x episodes", "training s", "ms a decision")


def _words(cell: Cell) -> tuple[str, ...]:
    low, high = cell.interval
    return (
        cell.task,
        cell.method,
        f"{cell.mean:.3f}",
        f"{low:.3f} to {high:.3f}",
        ", ".join(f"{r:.3f}" for r in cell.rates),
        f"{len(cell.seeds)} x {cell.episodes}",
        f"{statistics.median(cell.train_seconds):.0f}",
        f"{statistics.median(cell.decision_ms):.2f}",
    )


def markdown(cells: Sequence[Cell]) -> str:
    """The table in Markdown, one row a cell."""
    lines = [HEADER, tuple("---" for _ in HEADER), *map(_words, cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def as_csv(cells: Sequence[Cell]) -> str:
    """The table as CSV, numbers unrounded, one row per training seed."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("task", "method", "seed", "success_rate", "episodes", "train_seconds", "decision_ms"))
    for c in cells:
        for row in zip(c.seeds, c.rates, c.train_seconds, c.decision_ms, strict=True):
            seed, rate, seconds, ms = row
            writer.writerow((c.task, c.method, seed, rate, c.episodes, f"{seconds:.1f}", f"{ms:.4f}"))
    return out.getvalue()


def draw(cells: Sequence[Cell], path: Path) -> Path:
    """One group of bars a task, one bar a method with its interval; every training seed is a dot."""
    from matplotlib.figure import Figure

    tasks, methods = (list(dict.fromkeys(getattr(c, name) for c in cells)) for name in ("task", "method"))
    gap = 0.8  # between groups; a bar's place is 1 wide
    ordered = sorted(cells, key=lambda c: tasks.index(c.task))
    where = [i + gap * tasks.index(c.task) for i, c in enumerate(ordered)]
    figure = Figure(figsize=(max(5.0, 1.2 + 0.34 * (where[-1] + 1)), 4.4), layout="constrained")
    axes = figure.subplots()
    for k, method in enumerate(methods):
        mine = [(x, c) for x, c in zip(where, ordered, strict=True) if c.method == method]
        errors = [[c.mean - c.interval[0] for _, c in mine], [c.interval[1] - c.mean for _, c in mine]]
        heights = [c.mean for _, c in mine]
        axes.bar([x for x, _ in mine], heights, 0.9, yerr=errors, capsize=2, label=method, color=f"C{k}", alpha=0.75)
        for x, c in mine:
            axes.plot([x] * len(c.rates), c.rates, ".", color="black", markersize=4)
    groups = [[x for x, c in zip(where, ordered, strict=True) if c.task == task] for task in tasks]
    axes.set_xticks([statistics.fmean(group) for group in groups], tasks, rotation=30, ha="right")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("success rate, last checkpoint")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=len(methods), fontsize="small", frameon=False)
    figure.savefig(path, dpi=130)
    return path
