"""Video of chosen episodes, filmed after the evaluation by playing their seeds again.

Which episodes fail is known only afterwards, and drawing every episode would be slow.  Playing an episode again is
exact, because its environment and its policy noise depend on its seed alone; it is checked for every filmed episode.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.envs.rendering.gl import gl_missing
from dtql_robot.errors import InputError, describe
from dtql_robot.eval.episode_result import EpisodeResult
from dtql_robot.eval.result import EvalResult
from dtql_robot.eval.video.clips import Clip, grid_shape, write_clips
from dtql_robot.eval.video.labels import PAPER, card
from dtql_robot.eval.video.spec import ClipSpec, VideoSpec, choose_episodes, pick_episodes, spread
from dtql_robot.eval.video.studio import Studio, left_out
from dtql_robot.system.progress import progress_bar
from dtql_robot.types import Policy


@dataclass(frozen=True)
class Filmed:
    """What came of filming.

    video  None where none was written
    note   why there is none, or what is odd about it
    clips  seed -> the clip of that episode
    """

    video: Path | None = None
    note: str | None = None
    clips: dict[int, Path] = field(default_factory=dict)


def _intro(result: EvalResult, shown: Sequence[EpisodeResult], speed: float) -> list[str]:
    """Lines of the title card: the rate, and what the video shows of it."""
    if result.success_rate is None or result.ci95 is None:
        lines = [f"Return {result.mean_return:.2f}", result.env, f"Mean of {result.episodes} episodes"]
        if result.return_ci95 is not None:
            lines[2] += f", 95% interval {result.return_ci95[0]:.2f} to {result.return_ci95[1]:.2f}"
        return [*lines, f"{len(shown)} of them shown", *_speed(speed)]
    low, high = result.ci95
    failures = sum(not e.success for e in shown)
    lines = [
        f"{result.success_rate:.1%} success",
        result.env,
        f"{result.successes} of {result.episodes} episodes, 95% interval {low:.1%} to {high:.1%}",
    ]
    if result.successes == result.episodes:
        lines.append(f"No episode failed; {len(shown)} of them shown")
    elif result.successes == 0:
        lines.append(f"No episode succeeded; {len(shown)} of them shown")
    else:
        lines.append(f"Shown: {failures} failed, {len(shown) - failures} succeeded")
    return [*lines, *_speed(speed)]


def _speed(speed: float) -> list[str]:
    return [f"Shown at {speed:.2g}x speed"] if speed > 1.05 else []


def film(
    policy: Policy,
    result: EvalResult,
    spec: VideoSpec,
    *,
    max_episode_steps: int | None = None,
    env_args: dict[str, Any] | None = None,
    clips: ClipSpec | None = None,
    progress: bool = True,
) -> Filmed:
    """Write the video of an evaluation, and with `clips` a clip of each episode in it.

    Where no frame can be drawn, or the filter leaves no episode, there is no video and the note says why.  An episode
    that ends otherwise than it was recorded is left out and the note says so: then the policy's choice depends on the
    other robots in its batch.
    """
    chosen = _chosen(result, spec)
    note = _hindrance(result, spec, chosen)
    if note is not None:
        return Filmed(note=f"No video. {note}")
    made: dict[int, Path] = {}
    try:
        with contextlib.closing(
            Studio(policy, result.env, result.horizon, spec, max_episode_steps, env_args)
        ) as studio:
            odd: list[int] = []
            _write_video(studio, result, spec, chosen, _shots(studio, result, chosen, odd, clips, made, progress))
    except Exception as error:  # a finished evaluation must not be lost to its video
        return Filmed(note=f"No video. Drawing failed: {_warned(error)}", clips=made)
    return Filmed(spec.path, left_out(odd), made)


def film_clips(
    policy: Policy,
    result: EvalResult,
    clips: ClipSpec,
    *,
    made: dict[int, Path],
    max_episode_steps: int | None = None,
    env_args: dict[str, Any] | None = None,
    progress: bool = True,
) -> Filmed:
    """Write the clips that are asked for and not among those `made` already."""
    played = [i for i, episode in enumerate(result.per_episode) if not episode.error]
    won = [bool(result.per_episode[i].success) for i in played]
    wanted = [played[i] for i in pick_episodes(won, clips.episodes, max_failures=clips.episodes - clips.episodes // 4)]
    missing = [i for i in wanted if result.per_episode[i].seed not in made]
    if not missing:
        return Filmed()
    spec = VideoSpec(clips.folder / "clips.mp4", width=clips.size, height=clips.size)
    if (note := gl_missing()) is not None:
        return Filmed(note=f"No clips. {note}")
    found: dict[int, Path] = {}
    odd: list[int] = []
    try:
        with contextlib.closing(
            Studio(policy, result.env, result.horizon, spec, max_episode_steps, env_args)
        ) as studio:
            for _ in _shots(studio, result, missing, odd, clips, found, progress):
                pass
    except Exception as error:
        return Filmed(note=f"Clips are missing. Drawing failed: {_warned(error)}", clips=found)
    return Filmed(note=left_out(odd), clips=found)


def _warned(error: Exception) -> str:
    warnings.warn(f"The video could not be made: {error!r}", stacklevel=3)
    return str(error) if isinstance(error, InputError) else describe(error)


def _hindrance(result: EvalResult, spec: VideoSpec, chosen: Sequence[int]) -> str | None:
    """Why there is nothing to film; None where there is something."""
    missing = gl_missing()
    if missing is not None:
        return missing
    if not (result.reports_success or spec.filter == "all"):
        return f"{result.env} reports no success, so that there are no {spec.filter} to show."
    if chosen:
        return None
    kind = "episodes that can be played" if spec.filter == "all" else spec.filter
    return f"There are no {kind} among the {result.episodes} episodes."


def _chosen(result: EvalResult, spec: VideoSpec) -> list[int]:
    """Indices of the episodes to film, none of which failed for the simulator's sake: it would fail again."""
    played = [i for i, episode in enumerate(result.per_episode) if not episode.error]
    if spec.pick:
        return [i for i in spec.pick if i in played]
    if not (result.reports_success or spec.random):
        return sorted(played[i] for i in spread([result.per_episode[i].episode_return for i in played], spec.episodes))
    return [played[i] for i in choose_episodes([bool(result.per_episode[i].success) for i in played], spec)]


def _shots(
    studio: Studio,
    result: EvalResult,
    chosen: Sequence[int],
    odd: list[int],
    clips: ClipSpec | None,
    made: dict[int, Path],
    progress: bool,
) -> Iterator[Clip]:
    """Play the chosen episodes again; those that end otherwise than recorded are left out and added to `odd`.

    made: receives the clips that are written on the way.
    """
    for index in progress_bar("film", over=chosen, total=len(chosen), unit="ep", enabled=progress):
        recorded = result.per_episode[index]
        clip = studio.clip(recorded, f"Episode {index + 1} of {result.episodes}")
        if clip is None:
            odd.append(recorded.seed)
            continue
        if clips is not None:
            file = clips.file(recorded.seed)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_clips(file, studio.pace.fps, [[clip]])
            made[recorded.seed] = file
        yield clip


def _write_video(
    studio: Studio, result: EvalResult, spec: VideoSpec, chosen: Sequence[int], shots: Iterator[Clip]
) -> None:
    """The title and the clips, one after the other or all at once."""
    columns, rows = grid_shape(len(chosen)) if spec.grid else (1, 1)
    (width, height), shown = studio.size, [result.per_episode[i] for i in chosen]
    opening = np.full((rows * height, columns * width, 3), PAPER, np.uint8)
    above = (rows - 1) * height // 2
    opening[above : above + height] = card(columns * width, height, _intro(result, shown, studio.pace.speed))
    groups = [list(shots)] if spec.grid else ([clip] for clip in shots)
    write_clips(spec.path, studio.pace.fps, groups, opening=opening, columns=columns)
