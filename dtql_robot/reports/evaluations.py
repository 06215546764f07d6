"""Where evaluations stand in a run folder: the best supported one as results.json, others in results/.

A run's headline is what anybody reads first, so that a probe (fewer episodes, another environment, other settings) does
not take its place, and what does take it leaves the one before in results/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtql_robot.env_record import same_environment
from dtql_robot.errors import InputError
from dtql_robot.run_folder import CLIPS, REPORT, RESULTS, checkpoint_digest, read_results, settings_of
from dtql_robot.run_name import CHECKPOINT, LAST, of_checkpoint
from dtql_robot.system.files import write_json
from dtql_robot.system.locks import locked

OTHERS = "results"
SHORT = {"max_episode_steps": "steps", "n_action_steps": "execute", "temporal_ensemble_coeff": "coeff"}
"""What may be asked for other than usual -> its word in a file's name."""


@dataclass(frozen=True)
class Kept:
    """Where an evaluation was written.  headline: the better supported one that stays in results.json; None: there."""

    results: Path
    report: Path
    headline: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        if self.headline is None:
            return ""
        found = self.headline
        rate = found["success_rate"]
        result = f"return {found['mean_return']:.2f}" if rate is None else f"{rate:.1%}"
        what = f"{result} over {found['episodes']} episodes in {found['env']}, seed {found['seed']}"
        file = of_checkpoint(RESULTS, found.get("checkpoint_name", LAST))
        return f"{file} keeps the better supported evaluation ({what}); this evaluation is in {self.results}"


def keep(run: Path, result: Mapping[str, Any], videos: Sequence[Path] = ()) -> Kept:
    """Write an evaluation to where it belongs.

    result: the content of results.json, with "checkpoint" (`checkpoint_digest`), "checkpoint_name" where it is not the
    last one (results-best.json then takes the place of results.json), and "asked" (option -> what was asked for instead
    of the usual).  videos: its own, which stay where they are.
    """
    checkpoint = result.get("checkpoint_name", LAST)
    headline, report = run / of_checkpoint(RESULTS, checkpoint), run / of_checkpoint(REPORT, checkpoint)
    with locked(headline, wait=True):
        before = _headline(run, headline)
        if before is not None and _rank(result, run) < _rank(before, run):
            path = run / OTHERS / f"{name_of(result)}.json"
            return Kept(write_json(path, result), path.with_suffix(".html"), before)
        if before is not None and name_of(before) != name_of(result):
            _set_aside(run, before, videos, report)
        elif before is not None:
            result = {**result, "clips": {**_clips_there(run, before), **(result.get("clips") or {})}}
        return Kept(write_json(headline, result), report)


def _headline(run: Path, file: Path) -> dict[str, Any] | None:
    """What results.json holds; None where it contains nothing, or nothing that can be read."""
    try:
        found = read_results(file)
    except InputError:
        return None
    if "checkpoint" not in found:  # written before evaluations said it: by the time
        newer = os.path.getmtime(file) >= os.path.getmtime(run / CHECKPOINT)
        found["checkpoint"] = checkpoint_digest(run) if newer else "before"
    return found


def _clips_there(run: Path, before: Mapping[str, Any]) -> dict[str, str]:
    """The clips of the same evaluation, made an earlier time: every time one asks for others, more are there."""
    return {seed: name for seed, name in (before.get("clips") or {}).items() if clip_file(run, name) is not None}


def clip_file(run: Path, name: str) -> Path | None:
    """The clip of this name in results.json; None where it is not there.  A file's own words lead nowhere else."""
    folder, _, file = name.partition("/")
    path = run / CLIPS / Path(folder).name / Path(file).name
    return path if path.suffix == ".mp4" and path.is_file() else None


def _rank(result: Mapping[str, Any], run: Path) -> tuple[bool, bool, bool, int]:
    """How well it supports what is said of the run: its checkpoint, environment and settings, and how many episodes."""
    own = settings_of(run)["env"]
    return (
        result["checkpoint"] == checkpoint_digest(run, result.get("checkpoint_name", LAST)),
        own is None or same_environment(own, result["env"]),
        not result.get("asked") and result["seed"] == 0,
        result["episodes"],
    )


def name_of(result: Mapping[str, Any]) -> str:
    """A file name that tells evaluations apart: environment, seed, episodes, settings and checkpoint."""
    asked = [f"{SHORT.get(key, key)}{value}" for key, value in (result.get("asked") or {}).items()]
    words = [result["env"], f"seed{result['seed']}", f"{result['episodes']}ep", *asked, result["checkpoint"][:6]]
    return re.sub(r"[^\w.+=-]+", "_", "-".join(words))[:200]


def _set_aside(run: Path, before: Mapping[str, Any], videos: Sequence[Path], report: Path) -> None:
    """Move a headline, its report and its videos into results/; a video of the new one's name is the new one's."""
    folder, name = run / OTHERS, name_of(before)
    folder.mkdir(exist_ok=True)
    replaced = {Path(os.path.realpath(video)) for video in videos}
    moved = []
    for video in before.get("videos") or ():
        old = run / Path(video).name
        if old.is_file() and Path(os.path.realpath(old)) not in replaced:
            os.replace(old, folder / f"{name}-{old.name}")
            moved.append(f"{name}-{old.name}")
    write_json(folder / f"{name}.json", {**before, "videos": moved})
    if report.is_file():
        os.replace(report, folder / f"{name}.html")
