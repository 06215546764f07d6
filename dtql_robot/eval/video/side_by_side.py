"""Several policies in the same episodes, side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.envs.rendering.gl import gl_missing
from dtql_robot.errors import InputError
from dtql_robot.eval.episode_result import EpisodeResult
from dtql_robot.eval.video.clips import Clip, write_clips
from dtql_robot.eval.video.labels import card
from dtql_robot.eval.video.spec import VideoSpec
from dtql_robot.eval.video.studio import Studio, left_out
from dtql_robot.system.progress import progress_bar
from dtql_robot.types import Policy


@dataclass(frozen=True)
class Side:
    """One policy with what was recorded of it.

    outcome   its result in a few words
    episodes  seed -> the episode as it was evaluated
    """

    name: str
    outcome: str
    policy: Policy
    env: str
    horizon: int
    episodes: Mapping[int, EpisodeResult]
    max_episode_steps: int | None = None
    env_args: dict[str, Any] | None = None


def film_side_by_side(sides: Sequence[Side], spec: VideoSpec, *, progress: bool = True) -> str | None:
    """Write a video in which each policy plays the episodes that all of them were evaluated in.

    Those first in which not all end alike.  Returns a sentence on episodes that are left out; None for none.
    InputError where there is nothing to show, or no way to draw.
    """
    if spec.looks is not None:
        raise InputError(f"Policies side by side are shown with curves (actions, q), not with {spec.looks}.")
    if (missing := gl_missing()) is not None:
        raise InputError(f"No video. {missing}")
    seeds = telling_seeds([side.episodes for side in sides], spec.episodes)
    if not seeds:
        raise InputError("No video: these runs share no episode. Evaluate them with the same --seed.")
    odd: list[int] = []
    with contextlib.ExitStack() as stack:
        studios = [
            stack.enter_context(
                contextlib.closing(
                    Studio(side.policy, side.env, side.horizon, spec, side.max_episode_steps, side.env_args)
                )
            )
            for side in sides
        ]
        opening = np.concatenate(
            [card(*studio.size, [side.name, side.outcome]) for side, studio in zip(sides, studios, strict=True)], axis=1
        )
        groups = _groups(sides, studios, seeds, odd, progress)
        write_clips(spec.path, studios[0].pace.fps, groups, opening=opening, columns=len(sides))
    return left_out(odd)


def telling_seeds(runs: Sequence[Mapping[int, EpisodeResult]], count: int) -> list[int]:
    """Up to `count` common seeds: first those in which not all end alike, by turns, then where all fail, then others.

    By turns: one that the first run solves alone is followed by one that it does not solve.
    """
    common = [seed for seed in runs[0] if all(seed in run and not run[seed].error for run in runs)]
    won = {seed: [bool(run[seed].success) for run in runs] for seed in common}
    ahead = [s for s in common if won[s][0] and not all(won[s])]
    behind = [s for s in common if not won[s][0] and any(won[s])]
    turns = [s for pair in zip(ahead, behind, strict=False) for s in pair]
    turns += [s for s in (*ahead, *behind) if s not in turns]
    alike = sorted((s for s in common if s not in turns), key=lambda s: any(won[s]))
    return [*turns, *alike][:count]


def _groups(
    sides: Sequence[Side], studios: Sequence[Studio], seeds: Sequence[int], odd: list[int], progress: bool
) -> Iterator[list[Clip]]:
    """Each episode as every policy plays it; `odd` receives the seeds that ended otherwise than recorded."""
    for seed in progress_bar("film", over=seeds, total=len(seeds), unit="ep", enabled=progress):
        pairs = zip(sides, studios, strict=True)
        clips = [studio.clip(side.episodes[seed], side.name) for side, studio in pairs]
        shown = [clip for clip in clips if clip is not None]
        if len(shown) == len(sides):
            yield shown
        else:
            odd.append(seed)
