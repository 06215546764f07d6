"""The commands that lead to a result again: data, training, evaluation."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dtql_robot.config import Config
from dtql_robot.env_record import recorded_kwargs

COLLECTED = "collection"
"""The attribute in which `collect` leaves the options that decide its data."""
NO_OPTIONS = ("task", "missing", "weights_sha256")
"""What it says there besides options."""
FILM_FLAGS = ("--video", "--clips", "--cameras", "--log")
"""How the options begin that change no result."""


def to_reproduce(
    run: Path,
    settings: Mapping[str, Any],
    summary: Mapping[str, Any] | None,
    versions: Mapping[str, str],
    evaluation: Sequence[str],
) -> list[str]:
    """Lines for a shell, comments among them.

    settings: the content of config.json.  summary: of dataset.json.  evaluation: the words of its command line.
    """
    lines = [f"# with {', '.join(f'{name} {version}' for name, version in versions.items())}"] if versions else []
    if settings["data"]:
        lines += _data_lines(settings["data"], summary or {}, settings["config"].get("data", {}).get("filter_key"))
        lines.append(shlex.join(training_command(run, settings)))
    else:
        lines.append("# the policy was exported; its README.md says what it was trained on")
    return [*lines, shlex.join(evaluation)]


def _data_lines(data: str, summary: Mapping[str, Any], filter_key: str | None) -> Iterator[str]:
    """How the demonstrations came to be, where that is known.

    What is held out was collected too; how many more there are beside those of a `filter_key` is not known.
    """
    attrs = summary.get("attrs")
    plan = attrs.get(COLLECTED) if isinstance(attrs, Mapping) else None
    count, steps = summary.get("episodes"), summary.get("transitions")
    taken = summary.get("recorded_episodes") or count
    if filter_key:
        yield f"# the demonstrations of mask/{filter_key} in {data}; `dtql-robot split` makes such lists"
    elif isinstance(plan, Mapping) and isinstance(plan.get("task"), str):
        how = _collect_options({"episodes": taken, **plan})
        yield shlex.join(["dtql-robot", "collect", plan["task"], "--out", data, *how])
    elif summary.get("format") == "arrays":
        yield "# the demonstrations were arrays in memory; dtql_robot.save_robomimic writes them to a file"
    if isinstance(count, int) and isinstance(steps, int):
        yield f"# {count}{'' if taken == count else f' of {taken}'} demonstrations, of {steps:,} steps in all"


def _collect_options(plan: Mapping[str, Any]) -> Iterator[str]:
    for name, value in plan.items():
        flag = f"--{name.replace('_', '-')}"
        if name in NO_OPTIONS or value is None or value is False or value == []:
            continue
        if value is True:
            yield flag
        else:
            yield from (flag, *map(str, value if isinstance(value, list | tuple) else [value]))


def without_films(evaluation: Sequence[str]) -> list[str]:
    """The words of an evaluation's command line, less what makes videos."""
    kept: list[str] = []
    skipping = False
    for word in evaluation:
        if word.startswith("--"):
            skipping = word.startswith(FILM_FLAGS)
        if not skipping:
            kept.append(word)
    return kept


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
