"""One self-contained HTML file about a trained and evaluated policy."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtql_robot.metrics import Panel
from dtql_robot.reports.episodes import SIDE, embedded, ends, stage_counts, start_panels, subtasks_of_failures
from dtql_robot.system.files import write_text

if TYPE_CHECKING:
    import jinja2


def _data_uri(path: Path | None, kind: str) -> str | None:
    """The file as a data: URI; None where there is no such file."""
    if path is None or not Path(path).is_file():
        return None
    return f"data:{kind};base64,{base64.b64encode(Path(path).read_bytes()).decode('ascii')}"


def _videos(paths: Sequence[Path]) -> list[dict[str, str | None]]:
    """The videos that there are, each with its file's name if there are several."""
    found = [(path, uri) for path in paths if (uri := _data_uri(path, "video/mp4"))]
    return [{"name": path.name if len(found) > 1 else None, "uri": uri} for path, uri in found]


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mapping -> (dotted key, text) rows in order."""
    rows: list[tuple[str, str]] = []
    for key, value in mapping.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            rows += flatten(value, name)
        else:
            rows.append((name, _text(value)))
    return rows


def describe_dataset(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a data set: {"facts": rows, "warnings", "obs": rows, "actions": dicts}.

    summary: what `datasets.inspect` returns; of any other mapping every entry is a fact.
    """
    obs, actions = summary.get("obs") or {}, summary.get("action") or []
    shown_apart = ("obs", "action", "extras", "warnings", "notes", "duplicates")
    facts = flatten({k: v for k, v in summary.items() if k not in shown_apart and v not in ({}, None)})
    return {
        "facts": [(key.replace("_", " ").replace(".", ", "), text) for key, text in facts if text],
        "warnings": [*(summary.get("warnings") or []), *(summary.get("notes") or [])],
        "obs": [(key, _shape(o["shape"]), o["dtype"], f"{o['min']:.4g}", f"{o['max']:.4g}") for key, o in obs.items()],
        "actions": [_action(i, column) for i, column in enumerate(actions)],
    }


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "1"


def _action(index: int, column: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the table of actions; the bars are at most 26 high."""
    counts = column.get("histogram") or []
    top = max(counts, default=0) or 1
    numbers = {name: f"{column[name]:.4g}" for name in ("min", "max", "mean", "std")}
    return {"index": index, **numbers, "bars": [26 * count / top for count in counts]}


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_text(v) for v in value)
    return str(value)


def _template() -> jinja2.Template:
    import jinja2

    loader = jinja2.PackageLoader("dtql_robot.reports", package_path=".")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("report.html.jinja")


def _outcome(results: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of results.json."""
    episodes = list(results["per_episode"])
    low, high = results["ci95"] or (None, None)
    return {
        "results": results,
        "episodes": episodes,
        "successes": sum(bool(e["success"]) for e in episodes),
        "low": low,
        "high": high,
        "rule": "its last step" if results.get("success_rule") == "last" else "any of its steps",
        "video_missing": results.get("video_note") or "No video was made.",
        "starts": start_panels(episodes),
        "ends": ends(episodes, results.get("measure")),
        "subtasks": subtasks_of_failures(episodes),
        "stages": stage_counts(episodes),
    }


def write_report(
    path: str | Path,
    *,
    title: str,
    results: Mapping[str, Any],
    config: Mapping[str, Any],
    dataset: Mapping[str, Any] | None = None,
    decisions: Sequence[str] = (),
    curves_png: Path | None = None,
    videos: Sequence[Path] = (),
    command: Sequence[str] = (),
    versions: Mapping[str, str] | None = None,
    panels: Sequence[Panel] = (),
    notes: Sequence[str] = (),
    overfitting: str | None = None,
    clips: Mapping[int, Path] | None = None,
    film_command: str = "",
) -> Path:
    """Write report.html: success rate or return with interval, the video, every episode, curves, settings, commands.

    decisions: what training decided from the data and why, a sentence each.
    results: the content of results.json.  config: shown as it is, nested keys dotted.  dataset: as `datasets.inspect`
    gives it.  videos: named where there are several.
    command: the lines that reproduce the run.  versions: package -> version; default those in `results`.
    panels: what the curves show, to be explained.  notes: sentences on the checkpoint that was judged.
    overfitting: a sentence, where there is any.
    clips: seed -> a short video of that episode.  film_command: makes one more, see `run_report.film_command`.
    The file needs nothing beside it: video and curves are embedded.  What is missing is said in its place.
    """
    html = _template().render(
        title=title,
        **_outcome(results),
        videos=_videos(videos),
        curves=_data_uri(curves_png, "image/png"),
        panels=[panel for panel in panels if panel.about],
        notes=list(notes),
        overfitting=overfitting,
        config=flatten(config),
        dataset=describe_dataset(dataset) if dataset else None,
        decisions=list(decisions),
        command="\n".join(command),
        clips=embedded(clips or {}),
        film_command=film_command,
        side=SIDE,
        versions=dict(versions or results.get("versions") or {}),
        date=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )
    return write_text(Path(path), html)
