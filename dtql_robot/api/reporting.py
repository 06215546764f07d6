"""`report` and `curves`: what a run folder has to show."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtql_robot.errors import InputError, require_path
from dtql_robot.eval.result import EvalResult
from dtql_robot.reports.curves import plot_curves
from dtql_robot.reports.evaluations import keep
from dtql_robot.reports.run_report import curve_rows, write_run_report
from dtql_robot.run_folder import (
    CURVES,
    METRICS,
    REPORT,
    RESULTS,
    checkpoint_digest,
    read_config,
    read_metrics,
    read_results,
    settings_of,
)
from dtql_robot.run_name import checkpoint_file, of_checkpoint, split_checkpoint
from dtql_robot.system.frames import data_frame

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Report:
    """A written report; a notebook shows it inline."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 640px; border: 0"></iframe>'


def report(run: str | os.PathLike[str], result: EvalResult | None = None) -> Report:
    """Write a run folder's report.html, and return where it is.

    run: the folder, or a checkpoint of it ("runs/lift@best").
    result: what `evaluate(run)` found, which is kept in the folder as `dtql-robot eval` keeps it; None: the
    results already in the folder.  InputError if there are none.
    """
    require_path("run", run)
    if result is not None and not isinstance(result, EvalResult):
        raise InputError(f"result is {result!r:.80}; expected what `evaluate` returned.")
    folder, name = split_checkpoint(Path(run).expanduser())
    settings_of(folder)
    if result is None:
        file = folder / of_checkpoint(RESULTS, name)
        found = read_results(file if file.exists() else Path(run).expanduser())
        videos = [folder / video for video in found.get("videos") or ()]
        page = folder / of_checkpoint(REPORT, name)
        return Report(write_run_report(folder, videos, _call(run, found), file, page))
    from dtql_robot.checkpoint import step_of

    judged = {"checkpoint": checkpoint_digest(folder, name), "checkpoint_name": name}
    found = {**result.to_dict(), **judged, "checkpoint_step": step_of(checkpoint_file(folder, name)), "asked": {}}
    kept = keep(folder, found, result.videos)
    return Report(write_run_report(folder, result.videos, _call(run, found), kept.results, kept.report))


def _call(run: object, found: dict[str, Any]) -> list[str]:
    """The command line that evaluates as `found` was."""
    words = ["dtql-robot", "eval", str(run), "--episodes", str(found["episodes"]), "--seed", str(found["seed"])]
    for option, value in (found.get("asked") or {}).items():
        words += [f"--{option.replace('_', '-')}", str(value)]
    return words


@dataclass(frozen=True)
class Curves:
    """What a run's metrics.csv holds; a notebook shows it as a figure.  rows: one a logged update."""

    run: Path
    rows: Sequence[dict[str, float]] = field(repr=False)

    def to_frame(self) -> pandas.DataFrame:
        """One row a logged update, indexed by "step".  InputError where pandas is missing."""
        frame = data_frame(self.rows)
        return frame.set_index("step") if len(frame) else frame

    def _repr_png_(self) -> bytes | None:
        """The figure, which is also written into the run folder."""
        if not self.rows:
            return None
        return plot_curves(curve_rows(self.rows), self.run / CURVES, read_config(self.run)["config"]).read_bytes()


def curves(run: str | os.PathLike[str]) -> Curves:
    """The learning curves of a run folder.  InputError if it is not one."""
    require_path("run", run)
    folder = split_checkpoint(Path(run).expanduser())[0]
    read_config(folder)
    return Curves(folder, read_metrics(folder / METRICS))
