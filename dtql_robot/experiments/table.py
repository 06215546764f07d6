"""Many evaluated runs as one table and one figure: tasks x methods, over training seeds."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dtql_robot.eval.intervals import returns_interval, seeds_interval

Measure = Literal["success", "normalized score", "return"]
MEASURES: tuple[Measure, ...] = ("success", "normalized score", "return")


@dataclass(frozen=True)
class Cell:
    """One method on one task.

    rates          success rate of each training seed, in the order of `seeds`, or what `measure` says
    episodes       evaluation episodes of each seed
    train_seconds  wall time of each seed's training
    decision_ms    time of one forward pass at batch 1, of each seed
    measure        what `rates` are: of a task that reports no success the normalized score, or the return without one
    values         in the same measure, of each seed's episodes; empty for "success"
    scores         normalized score of each seed, where the reference returns are known; else empty
    """

    task: str
    method: str
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    episodes: int
    train_seconds: tuple[float, ...]
    decision_ms: tuple[float, ...]
    measure: Measure = "success"
    values: tuple[tuple[float, ...], ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """The mean over training seeds."""
        return statistics.fmean(self.rates)

    @property
    def interval(self) -> tuple[float, float]:
        """95%: the wider of Student's over training seeds and one over the episodes: Wilson's of success rates, the
        bootstrap's of returns and scores."""
        if self.measure != "success":
            return returns_interval(self.values)
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
    measure, values = _measured(results)
    return Cell(
        task,
        method,
        seeds=tuple(map(_seed, runs)),
        rates=tuple(map(statistics.fmean, values)) if values else tuple(r["success_rate"] for r in results),
        measure=measure,
        values=values,
        episodes=min(r["episodes"] for r in results),  # of runs that have more, no more is claimed
        train_seconds=tuple(math.nan if run["train_seconds"] is None else run["train_seconds"] for run in runs),
        decision_ms=tuple(1e3 / r["policy_hz"] for r in results),
        scores=_scores(results),
    )


def _scores(results: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    found = [r.get("normalized_score") for r in results]
    return tuple(float(score) for score in found if score is not None) if None not in found else ()


def _measured(results: Sequence[Mapping[str, Any]]) -> tuple[Measure, tuple[tuple[float, ...], ...]]:
    """(measure, each seed's values episode by episode; empty for success rates)."""
    if all(found["success_rate"] is not None for found in results):
        return "success", ()
    returns = tuple(tuple(_returns(found)) for found in results)
    scales = [found.get("normalized_by") for found in results]
    if any(scale is None for scale in scales):
        return "return", returns
    return "normalized score", tuple(
        tuple(100 * (r - scale["ref_min_score"]) / (scale["ref_max_score"] - scale["ref_min_score"]) for r in of_seed)
        for of_seed, scale in zip(returns, scales, strict=True)
        if scale is not None
    )


def _returns(found: Mapping[str, Any]) -> list[float]:
    column = found["per_episode_columns"].index("return")
    return [float(episode[column]) for episode in found["per_episode"] if episode[column] is not None]


HEADER = ("task", "method", "success", "95% interval", "each seed", "seeds x episodes", "training s", "ms per decision")


def _words(cell: Cell) -> tuple[str, ...]:
    low, high = cell.interval
    digits = {"success": 3, "normalized score": 1, "return": 2}[cell.measure]
    what = "" if cell.measure == "success" else f"{cell.measure} "
    return (
        cell.task,
        cell.method,
        f"{what}{cell.mean:.{digits}f}",
        f"{low:.{digits}f} to {high:.{digits}f}",
        ", ".join(f"{r:.{digits}f}" for r in cell.rates),
        f"{len(cell.seeds)} x {cell.episodes}",
        f"{statistics.median(cell.train_seconds):.0f}",
        f"{statistics.median(cell.decision_ms):.2f}",
    )


def markdown(cells: Sequence[Cell]) -> str:
    """The table in Markdown, one row a cell."""
    header = HEADER if all(c.measure == "success" for c in cells) else (*HEADER[:2], "result", *HEADER[3:])
    lines = [header, tuple("---" for _ in HEADER), *map(_words, cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def as_csv(cells: Sequence[Cell]) -> str:
    """The table as CSV, numbers unrounded, one row per training seed."""
    out = io.StringIO()
    writer = csv.writer(out)
    others = [m for m in ("normalized score", "return") if any(c.measure == m for c in cells)]
    named = ["mean_return" if other == "return" else "normalized_score" for other in others]
    writer.writerow(("task", "method", "seed", "success_rate", "episodes", "train_seconds", "decision_ms", *named))
    for c in cells:
        for row in zip(c.seeds, c.rates, c.train_seconds, c.decision_ms, strict=True):
            seed, value, seconds, ms = row
            rate, *rest = (value if c.measure == m else "" for m in ("success", *others))
            writer.writerow((c.task, c.method, seed, rate, c.episodes, f"{seconds:.1f}", f"{ms:.4f}", *rest))
    return out.getvalue()


COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7F7F7F")
"""Okabe and Ito's, which everybody can tell apart, with a grey in place of their black: seeds are black dots."""
HATCHES = ("", "//", "..", "xx")
"""What tells the methods apart that have the same colour."""


def draw(cells: Sequence[Cell], path: Path) -> Path:
    """One group of bars a task, one bar a method with its interval; every training seed is a dot.

    What is measured otherwise stands in a picture of its own below.
    """
    from matplotlib.figure import Figure

    parts = [part for m in MEASURES if (part := [c for c in cells if c.measure == m])]
    widest = max(len(part) + 0.8 * len({c.task for c in part}) for part in parts)
    methods = list(dict.fromkeys(c.method for c in cells))
    figure = Figure(figsize=(max(5.0, 1.2 + 0.34 * widest), 4.4 * len(parts)), layout="constrained")
    for axes, part in zip(figure.subplots(len(parts), squeeze=False)[:, 0], parts, strict=True):
        _draw_part(part, methods, axes)
    handles = {label: bar for axes in figure.axes for bar, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside upper center",
        ncols=len(methods),
        fontsize="small",
        frameon=False,
    )
    figure.savefig(path, dpi=130)
    return path


def _draw_part(cells: Sequence[Cell], methods: Sequence[str], axes: Any) -> None:
    """The bars of one measure."""
    tasks = list(dict.fromkeys(c.task for c in cells))
    gap = 0.8  # between groups; a bar's place is 1 wide
    ordered = sorted(cells, key=lambda c: tasks.index(c.task))
    where = [i + gap * tasks.index(c.task) for i, c in enumerate(ordered)]
    for k, method in enumerate(methods):
        mine = [(x, c) for x, c in zip(where, ordered, strict=True) if c.method == method]
        if not mine:
            continue
        errors = [[c.mean - c.interval[0] for _, c in mine], [c.interval[1] - c.mean for _, c in mine]]
        heights = [c.mean for _, c in mine]
        axes.bar(
            [x for x, _ in mine],
            heights,
            0.9,
            yerr=errors,
            capsize=2,
            label=method,
            color=COLOURS[k % len(COLOURS)],
            hatch=HATCHES[k // len(COLOURS) % len(HATCHES)],
            edgecolor="white",
            linewidth=0,
        )
        for x, c in mine:
            axes.plot([x] * len(c.rates), c.rates, ".", color="black", markersize=4)
    groups = [[x for x, c in zip(where, ordered, strict=True) if c.task == task] for task in tasks]
    axes.set_xticks([statistics.fmean(group) for group in groups], tasks, rotation=30, ha="right")
    if cells[0].measure == "success":
        axes.set_ylim(0, 1.02)
    axes.set_ylabel(f"{'success rate' if cells[0].measure == 'success' else cells[0].measure}, last checkpoint")
    axes.grid(axis="y", alpha=0.3)
