"""Curves and report.html of a run folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dtql_robot.metrics import EVALUATED, best_evaluation, overfitting, panels
from dtql_robot.reports.evaluations import clip_file
from dtql_robot.reports.reproduce import to_reproduce, without_films
from dtql_robot.run_folder import CURVES, METRICS, REPORT, read_metrics, read_results, read_summary, settings_of
from dtql_robot.run_name import LAST


def write_run_report(
    run: Path, videos: Sequence[Path], command: Sequence[str], results_file: Path | None = None, out: Path | None = None
) -> Path:
    """Draw the learning curves and gather everything in the run folder in one self-contained page.

    command: the words of the evaluation's command line; the training's is read off the run's config.
    results_file, out: the evaluation that it is about, and the page; None: the run's results.json and report.html.
    """
    from dtql_robot.reports.curves import plot_curves, series
    from dtql_robot.reports.page import write_report

    settings, results = settings_of(run), read_results(results_file or run)
    logged = read_metrics(run / METRICS)
    rows = curve_rows(logged)
    curves = plot_curves(rows, run / CURVES, settings["config"]) if series(rows) else None
    found = settings["versions"] | results.get("versions", {})
    versions, summary = {name.replace("_", "-"): v for name, v in found.items()}, read_summary(run)
    write_report(
        out or run / REPORT,
        title=f"{run.name}: {results['env']}",
        results=results,
        config=settings["config"],
        dataset=summary,
        decisions=settings["decisions"],
        curves_png=curves,
        panels=panels(list(series(rows)), settings["config"]),
        notes=judged(results, settings["config"], logged),
        overfitting=overfitting(logged),
        videos=videos,
        command=to_reproduce(run, settings, summary, versions, command),
        clips=clips_of(run, results),
        film_command=film_command(run, command),
        versions=versions,
    )
    return out or run / REPORT


def judged(results: Mapping[str, Any], config: Mapping[str, Any], rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Sentences on the checkpoint that an evaluation is of."""
    name, step = results.get("checkpoint_name"), results.get("checkpoint_step")
    if name is None:
        return []
    at = "" if step is None else f", after update {step:,}"
    if name == LAST:
        return [f"This is the last checkpoint{at}; it was not chosen by its result."]
    if name != "best":
        return [f"This is a checkpoint before the last one{at}."]
    tries = sum(row.get("eval_episodes", 0) > 0 for row in rows)
    episodes = (config.get("watch") or {}).get("eval_episodes")
    best = best_evaluation(rows)
    rate = "" if best is None or not best.get(EVALUATED, -1) >= 0 else f" ({best[EVALUATED]:.1%})"
    return [
        f"This is the best of {tries} checkpoints{at}, chosen by {episodes} episodes each during training. Its "
        f"success rate there{rate} is optimistic: the largest of several numbers that vary by chance. The rate above "
        "is from other episodes, which played no part in the choice; still, it is no fair comparison with the last "
        "checkpoint of another run."
    ]


def curve_rows(rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """The rows of metrics.csv without what is no curve."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "eval_episodes")} for row in rows]


def clips_of(run: Path, results: Mapping[str, Any]) -> dict[int, Path]:
    """Seed -> the clip of that episode, of those that there are."""
    found = {seed: clip_file(run, name) for seed, name in (results.get("clips") or {}).items() if seed.isdecimal()}
    return {int(seed): path for seed, path in found.items() if path is not None}


def film_command(run: Path, command: Sequence[str]) -> str:
    """The line that makes the clip of one more episode, in which @EPISODE@ and @INDEX@ stand for its number and index.

    command: the words of the evaluation's command line.
    """
    video = str(run / "episode-@EPISODE@.mp4")
    return shlex.join([*without_films(command), "--video", video, "--video-pick", "@INDEX@"])
