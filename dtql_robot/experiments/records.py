"""What is kept of each run, small enough for a repository, and the tables and pictures of many."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dtql_robot.datasets.loader import split_sources
from dtql_robot.experiments.jobs import Job
from dtql_robot.experiments.methods import RIVALS

KEPT = "results"
"""The folder of the records."""
TABLES = ("table.md", "table.csv", "figure.png", "summary.md", "curves.png", "curves.csv", KEPT)
"""What is written for a suite, as far as its runs give it."""
CURVE = ("step", "eval_success", "eval_return", "eval_score")
"""Columns of a record's `curve`, as metrics.csv has them."""


def write_tables(jobs: Sequence[Job], out: Path, behaviour: Mapping[str, Sequence[float]] | None = None) -> str:
    """table.md, table.csv, figure.png, a record per run; summary.md where tasks are in groups, curves where there are.

    Records that another program has added (`RIVALS`) are shown, too.
    behaviour: task -> normalized score of each episode of its data.  Returns the tables, and what they say of a task.
    """
    from dtql_robot.experiments.curves import as_csv as curves_csv
    from dtql_robot.experiments.curves import curves, draw_curves
    from dtql_robot.experiments.summary import summary
    from dtql_robot.experiments.table import as_csv, draw, gather, markdown
    from dtql_robot.experiments.verdict import verdicts
    from dtql_robot.system.files import write_text

    (out / KEPT).mkdir(exist_ok=True)
    records = {job.label: record(job) for job in jobs}
    for label, kept in records.items():
        write_text(out / KEPT / f"{label}.json", json.dumps(kept) + "\n")
    all_records = [*records.values(), *_of_rivals(out, dict.fromkeys(job.task.name for job in jobs))]
    cells = gather(all_records)
    table = markdown(cells)
    write_text(out / "table.md", table)
    write_text(out / "table.csv", as_csv(cells))
    draw(cells, out / "figure.png")
    if found := curves(all_records):
        write_text(out / "curves.csv", curves_csv(found))
        draw_curves(found, out / "curves.png", behaviour or {})
    groups = {job.task.name: job.task.group for job in jobs if job.task.group}
    if summed := summary(cells, groups, behaviour or {}):
        write_text(out / "summary.md", summed)
    said = "".join(f"{line}\n" for line in verdicts(cells))
    return "\n".join(part for part in (table, summed, said) if part)


def _of_rivals(out: Path, tasks: Iterable[str]) -> list[dict[str, Any]]:
    """The records that other programs left.  One that cannot be read is told of, and costs nothing else."""
    found = []
    for path in [p for t in tasks for method in RIVALS for p in sorted((out / KEPT).glob(f"{t}-{method}-seed*.json"))]:
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            print(f"bench: {path} is left out of the tables: it cannot be read ({error}).", file=sys.stderr)
    return found


def record(job: Job) -> dict[str, Any]:
    """A run's config and results, and how it was judged while it was trained."""
    from dtql_robot.run_folder import METRICS, read_config, read_metrics, read_results

    rows = read_metrics(job.folder / METRICS)
    curve = curve_of(rows)
    return {
        "task": job.task.name,
        "method": job.method,
        "train_seconds": rows[-1].get("seconds") if rows else None,
        "results": compact(read_results(job.folder)),
        "run": read_config(job.folder) | {"data": _names(job.data)},
        **({"curve": {"columns": list(CURVE), "rows": curve}} if curve else {}),
    }


def _names(data: Path) -> str:
    """Without folders, which nobody else has."""
    return ",".join(Path(source).name for source in split_sources(data))


def compact(results: Mapping[str, Any]) -> dict[str, Any]:
    """The content of results.json with an episode as [seed, success, steps until success].

    Where no success is told, its return follows (null where it could not be played to its end).
    """
    columns: tuple[str, ...] = ("seed", "success", "time_to_success")
    episodes = results["per_episode"]
    kept = [[int(e["seed"]), int(bool(e["success"])), e["time_to_success"]] for e in episodes]
    if results["success_rate"] is None:
        columns = (*columns, "return")
        kept = [[int(e["seed"]), None, None, None if e.get("error") else e["return"]] for e in episodes]
    return {**results, "per_episode": kept, "per_episode_columns": list(columns)}


def curve_of(rows: Iterable[Mapping[str, float]]) -> list[list[float | None]]:
    """The evaluations among the rows of metrics.csv, as `CURVE` has them; None for what is not known."""
    judged = [row for row in rows if math.isfinite(row.get("eval_return", math.nan))]
    return [[value if math.isfinite(value := row.get(name, math.nan)) else None for name in CURVE] for row in judged]
