"""Curves and report.html of a run folder."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dtql_robot.config import Config
from dtql_robot.env_record import recorded_kwargs
from dtql_robot.metrics import EVALUATED, best_evaluation, overfitting, panels
from dtql_robot.run_folder import CURVES, METRICS, REPORT, read_config, read_metrics, read_results, read_summary
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

    settings, results = read_config(run), read_results(results_file or run)
    logged = read_metrics(run / METRICS)
    rows = curve_rows(logged)
    curves = plot_curves(rows, run / CURVES, settings["config"]) if series(rows) else None
    versions = settings["versions"] | results.get("versions", {})
    write_report(
        out or run / REPORT,
        title=f"{run.name}: {results['env']}",
        results=results,
        config=settings["config"],
        dataset=read_summary(run),
        decisions=settings["decisions"],
        curves_png=curves,
        panels=panels(list(series(rows)), settings["config"]),
        notes=judged(results, settings["config"], logged),
        overfitting=overfitting(logged),
        videos=videos,
        command=[shlex.join(training_command(run, settings)), shlex.join(command)],
        versions={name.replace("_", "-"): v for name, v in versions.items()},
    )
    return out or run / REPORT


def judged(results: Mapping[str, Any], config: Mapping[str, Any], rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Sentences on the checkpoint that an evaluation is of."""
    name, step = results.get("checkpoint_name"), results.get("checkpoint_step")
    if name is None:
        return []
    at = "" if step is None else f", after update {step:,}"
    if name == LAST:
        return [f"Judged is the last checkpoint{at}; it was not chosen by its result."]
    if name != "best":
        return [f"Judged is a checkpoint before the last one{at}."]
    tries = sum(row.get("eval_episodes", 0) > 0 for row in rows)
    episodes = (config.get("watch") or {}).get("eval_episodes")
    best = best_evaluation(rows)
    rate = "" if best is None or not best.get(EVALUATED, -1) >= 0 else f" ({best[EVALUATED]:.1%})"
    return [
        f"Judged is the best of {tries} checkpoints{at}, by {episodes} episodes each while training. What it reached "
        f"there{rate} is optimistic: the largest of several numbers that vary by chance. The rate above is of other "
        "episodes, which played no part in the choice; the last checkpoint of another run is still at a disadvantage."
    ]


def curve_rows(rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """The rows of metrics.csv without what is no curve."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "eval_episodes")} for row in rows]


def training_command(run: Path, settings: Mapping[str, Any]) -> list[str]:
    """The words of a command line that trains with the run's settings.  settings: the content of config.json."""
    words = ["dtql-robot", "train", "--data", str(settings["data"]), "--out", str(run)]
    if settings["env"]:
        words += ["--env", settings["env"]]
    limit = recorded_kwargs(settings.get("env_args") or {})[1]
    if limit is not None:
        words += ["--max-episode-steps", str(limit)]
    if settings.get("init_from"):
        words += ["--init-from", str(settings["init_from"]), "--init-norm", str(settings["init_norm"])]
    for name, value, default in _values(Config.from_dict(settings["config"]), Config()):
        flag = name.replace("_", "-")
        if value == default:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return words


def _values(config: Any, default: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, value, default) of every setting."""
    for f in dataclasses.fields(config):
        value, usual = getattr(config, f.name), getattr(default, f.name)
        if dataclasses.is_dataclass(value):
            yield from _values(value, usual)
        else:
            yield f.name, value, usual
