"""Trainings in the trackers that `--log` names, and evaluations in those that their training was logged to."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dtql_robot.config import Config
from dtql_robot.errors import describe
from dtql_robot.metrics import group_of
from dtql_robot.reports.curves import plot_curves, series
from dtql_robot.reports.run_report import curve_rows
from dtql_robot.run_folder import CONFIG, CURVES, METRICS, TRACKED, flatten, read_config, read_metrics
from dtql_robot.system.files import write_json
from dtql_robot.system.json_text import parse_json
from dtql_robot.tracking.trackers import TRACKERS, Tracker, require_package
from dtql_robot.training.callback import Callback


class Tracking(Callback):
    """Logs every run of a training.  A tracker that fails is left out from then on: no log is worth a training."""

    def __init__(self, names: Sequence[str]) -> None:
        """InputError where a package is missing."""
        for name in names:
            require_package(name)
        self.names = list(names)
        self.open: dict[Path, dict[str, Tracker]] = {}

    def on_start(self, runs: Sequence[Path], cfg: Config, step: int) -> None:
        """Open each run in each tracker, or go on with it."""
        for run in runs:
            known = tracked(run) if step else {}
            settings = flatten(read_config(run)["config"])
            opened = {n: _trying(n, TRACKERS[n], run, settings, known.get(n, ""), step) for n in self.names}
            self.open[run] = {name: tracker for name, tracker in opened.items() if tracker is not None}
            write_json(run / TRACKED, {**known, **{name: found.id for name, found in self.open[run].items()}})

    def on_log(self, run: Path, step: int, values: Mapping[str, float]) -> None:
        """The row's numbers, by group."""
        numbers = {f"{group_of(name)}/{name}": v for name, v in values.items() if math.isfinite(v)}
        self._each(run, "numbers", step, numbers)

    def on_end(self, step: int) -> None:
        """The learning curves, and the end."""
        for run in self.open:
            rows = curve_rows(read_metrics(run / METRICS))
            if series(rows) and (run / CONFIG).exists():
                figure = plot_curves(rows, run / CURVES, read_config(run)["config"])
                self._each(run, "figure", "curves", figure, step)
            self._each(run, "close")

    def _each(self, run: Path, method: str, *args: Any) -> None:
        for name, tracker in list(self.open[run].items()):
            if _trying(name, _done, getattr(tracker, method), *args) is None:
                del self.open[run][name]


def _done(call: Callable[..., None], *args: Any) -> bool:
    call(*args)
    return True


def tracked(run: Path) -> dict[str, str]:
    """Tracker -> what it knows the run by; empty where it was logged nowhere."""
    try:
        found = parse_json((run / TRACKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {k: v for k, v in found.items() if k in TRACKERS and isinstance(v, str)}


def log_evaluation(run: Path, results: Mapping[str, Any], videos: Sequence[Path], step: int | None) -> list[str]:
    """Log an evaluation to where its run was logged, with its videos and curves; returns the trackers' names.

    step: the update of the checkpoint that was judged.
    """
    told, at = [], step or 0
    for name, known in tracked(run).items():
        numbers = {
            f"final/{k}": float(v)
            for k in ("success_rate", "mean_return", "episodes", "normalized_score")
            if (v := results.get(k)) is not None
        }

        if _trying(name, _log, name, run, known, numbers, videos, at):
            told.append(name)
    return told


def _log(name: str, run: Path, known: str, numbers: Mapping[str, float], videos: Sequence[Path], step: int) -> bool:
    require_package(name)
    tracker = TRACKERS[name](run, {}, known or run.name, step)
    tracker.numbers(step, numbers)
    for video in videos:
        tracker.video(f"final/{video.stem}", video, step)
    if (run / CURVES).is_file():
        tracker.figure("final/curves", run / CURVES, step)
    tracker.close()
    return True


def _trying(name: str, call: Callable[..., Any], *args: Any) -> Any:
    """What the call returns; None, and a sentence, where the tracker fails."""
    try:
        return call(*args)
    except Exception as error:  # other people's code, servers and networks
        print(f"\n{name} failed and is not used from here on: {describe(error)}", file=sys.stderr)
        return None
