"""How good each method was after how many updates: what evaluations during training say, over training seeds."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtql_robot.experiments.table import COLOURS

LABELS = {"success": "success rate", "normalized score": "normalized score", "return": "return"}
LINES = ("-", "--", ":", "-.")
"""What tells the methods apart that have the same colour."""
COLUMNS = 3
"""Panels beside each other."""


@dataclass(frozen=True)
class Curve:
    """One training seed of one method on one task.

    updates  of each evaluation, those before the policy starts among them
    values   in the measure: "normalized score" where the references are known, else "success", else "return"
    """

    task: str
    method: str
    seed: int
    measure: str
    updates: tuple[int, ...]
    values: tuple[float, ...]


def curves(records: Iterable[Mapping[str, Any]]) -> list[Curve]:
    """Of each record that has some (see `records.record`), in their order."""
    return [_curve(record) for record in records if record.get("curve")]


def _curve(record: Mapping[str, Any]) -> Curve:
    results, found = record["results"], record["curve"]
    rows = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
    by = results.get("normalized_by")
    measure, column = "normalized score", "eval_score"
    if any(row["eval_score"] is None for row in rows):
        if by is not None and by["measure"] == "return":  # references that the data brought
            scale = by["ref_max_score"] - by["ref_min_score"]
            rows = [{**row, column: 100 * (row["eval_return"] - by["ref_min_score"]) / scale} for row in rows]
        elif all(row["eval_success"] is not None for row in rows):
            measure, column = "success", "eval_success"
        else:
            measure, column = "return", "eval_return"
    return Curve(
        record["task"],
        record["method"],
        record["run"]["config"]["seed"],
        measure,
        tuple(int(row["step"]) for row in rows),
        tuple(float(row[column]) for row in rows),
    )


def as_csv(found: Sequence[Curve]) -> str:
    """A line an evaluation."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("task", "method", "seed", "updates", "measure", "value"))
    for c in found:
        for step, value in zip(c.updates, c.values, strict=True):
            writer.writerow((c.task, c.method, c.seed, step, c.measure, value))
    return out.getvalue()


def draw_curves(found: Sequence[Curve], path: Path, behaviour: Mapping[str, Sequence[float]]) -> Path:
    """A panel a task: each method's mean over training seeds, in a band from the lowest seed to the highest.

    behaviour: task -> normalized score of each episode of its data, whose mean is a dashed line.
    """
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((c.task, c.measure) for c in found))
    methods = list(dict.fromkeys(c.method for c in found))
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(max(5.0, 4.2 * columns), 0.6 + 3.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (task, measure) in zip(axes, panels, strict=False):
        _draw_panel(ax, [c for c in found if (c.task, c.measure) == (task, measure)], methods)
        if measure == "normalized score" and task in behaviour:
            ax.axhline(statistics.fmean(behaviour[task]), color="black", linestyle=(0, (2, 2)), label="the data")
        ax.set(title=task, xlabel="updates", ylabel=LABELS[measure])
        ax.grid(alpha=0.3)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    handles = {label: line for ax in axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=5, fontsize="small", frameon=False
    )
    figure.savefig(path, dpi=130)
    return path


def _draw_panel(ax: Any, mine: Sequence[Curve], methods: Sequence[str]) -> None:
    """One task's lines; a method has the same colour in all panels."""
    for k, method in enumerate(methods):
        points: dict[int, list[float]] = {}
        for c in mine:
            for step, value in zip(c.updates, c.values, strict=True):
                if c.method == method:
                    points.setdefault(step, []).append(value)
        if not points:
            continue
        steps = sorted(points)
        look = {"color": COLOURS[k % len(COLOURS)]}
        low, high = ([f(points[s]) for s in steps] for f in (min, max))
        ax.fill_between(steps, low, high, alpha=0.2, linewidth=0, **look)
        means = [statistics.fmean(points[s]) for s in steps]
        line = LINES[k // len(COLOURS) % len(LINES)]
        ax.plot(steps, means, line, marker="o", markersize=3, linewidth=1.6, label=method, **look)
