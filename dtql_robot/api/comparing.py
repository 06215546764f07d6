"""`compare`: evaluations side by side, from wherever they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from dtql_robot.errors import InputError
from dtql_robot.eval import comparison
from dtql_robot.eval.comparison import Comparison
from dtql_robot.eval.episode_result import EpisodeResult
from dtql_robot.eval.result import EvalResult
from dtql_robot.eval.subject import as_subject
from dtql_robot.eval.video.side_by_side import Side, film_side_by_side
from dtql_robot.eval.video.spec import VideoSpec
from dtql_robot.run_folder import read_results
from dtql_robot.run_name import split_checkpoint
from dtql_robot.system.files import check_writable

Evaluated = EvalResult | str | os.PathLike[str] | Mapping[str, Any]


def compare(
    runs: Sequence[Evaluated] | Mapping[str, Evaluated],
    *,
    video: VideoSpec | str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Comparison:
    """Compare evaluations of one environment: rates (or returns) with intervals, and a paired test of each pair.

        compare(["runs/a", "runs/b"])
        compare({"with Q": result, "without": "runs/no-q@best"})

    runs: two or more, in a list or by the names to show.  Each is a run folder with a results.json that `eval` wrote,
    such a file, what `evaluate` returned, or the content of results.json.  Evaluate them with the same seed.
    video: an mp4 to write, in which the policies play the same episodes side by side; it takes run folders.
    """
    named = runs if isinstance(runs, Mapping) else _named(runs)
    contents = {name: _content(found) for name, found in named.items()}
    found = comparison.compare(contents)
    if video is None:
        return found
    spec = video if isinstance(video, VideoSpec) else VideoSpec(Path(video))
    check_writable(spec.path)
    sides = [_side(name, run, contents[name]) for name, run in named.items()]
    return replace(found, video=spec.path, video_note=film_side_by_side(sides, spec, progress=progress))


def _side(name: str, run: Evaluated, found: Mapping[str, Any]) -> Side:
    """A run's policy, to play its evaluated episodes again.  InputError for what is no run folder."""
    if not isinstance(run, str | os.PathLike) or not split_checkpoint(Path(run).expanduser())[0].is_dir():
        raise InputError(f"A video of several policies takes their run folders; {name} is a result without one.")
    from dtql_robot.checkpoint import load_policy

    policy, asked = load_policy(Path(run).expanduser()), found.get("asked") or {}
    policy.set_plan(asked.get("n_action_steps"), asked.get("temporal_ensemble_coeff"))
    subject = as_subject(policy, found["env"], None)
    rate = found["success_rate"]
    return Side(
        name,
        f"return {found['mean_return']:.2f}" if rate is None else f"{rate:.1%} of {found['episodes']} episodes",
        policy,
        subject.spec,
        found.get("horizon") or max(episode["length"] for episode in found["per_episode"]),
        {episode["seed"]: EpisodeResult.from_dict(episode) for episode in found["per_episode"]},
        asked.get("max_episode_steps"),
        subject.env_args,
    )


def _content(found: Evaluated) -> Mapping[str, Any]:
    if isinstance(found, EvalResult):
        return found.to_dict()
    if isinstance(found, str | os.PathLike):
        return read_results(Path(found).expanduser())
    if not isinstance(found, Mapping):
        raise InputError(
            f"Expected a run folder, a result of evaluate or the content of results.json, found {found!r}."
        )
    return found


def _named(runs: Sequence[Evaluated]) -> dict[str, Evaluated]:
    if isinstance(runs, str | os.PathLike | EvalResult):
        raise InputError(f"A comparison needs at least two runs in a list, found {runs!r}.")
    paths = [Path(cast("str", found)) for found in runs if isinstance(found, str | os.PathLike)]
    names = iter(names_of(paths))
    named: dict[str, Evaluated] = {}
    for i, found in enumerate(runs):
        named[next(names) if isinstance(found, str | os.PathLike) else f"result {i + 1}"] = found
    return named


def names_of(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart.  InputError where two are the same."""
    plain = [path.expanduser().resolve() for path in paths]
    for depth in range(1, max((len(p.parts) for p in plain), default=0) + 1):
        shown = ["/".join(p.parts[-depth:]) for p in plain]
        if len(set(shown)) == len(shown):
            return shown
    if not plain:
        return []
    raise InputError(f"The same run is given twice: {', '.join(str(p) for p in paths)}.")
