"""Curves and report.html of a run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtql_robot import checkpoint
from dtql_robot.training import read_metrics

CURVES, REPORT = "curves.png", "report.html"


def write_run_report(run: Path, video: Path | None, command: Sequence[str]) -> Path:
    """Draw the learning curves and gather everything in the run folder in one self-contained page."""
    from dtql_robot.eval.curves import plot_curves
    from dtql_robot.eval.report import write_report

    settings = checkpoint.read_config(run)
    curves = None
    if (run / checkpoint.METRICS).exists():
        curves = run / CURVES
        rows = read_metrics(run / checkpoint.METRICS)
        plot_curves([{k: v for k, v in row.items() if k != "seconds"} for row in rows], curves)
    results = json.loads((run / checkpoint.RESULTS).read_text())
    write_report(
        run / REPORT,
        title=f"{run.name}: {results['env']}",
        results=results,
        config=settings["config"],
        dataset=_read_json(run / checkpoint.DATASET),
        curves_png=curves,
        video=video,
        command=list(command),
        versions=settings["versions"] | results["versions"],
    )
    return run / REPORT


def _read_json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None
