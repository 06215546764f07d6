"""Recorded demonstrations in the simulator: how many still succeed, and a video of some."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dtql_robot.env_record import choose_env
from dtql_robot.envs.collection.plan import NOISE_ATTRS
from dtql_robot.errors import InputError
from dtql_robot.eval.intervals import episode_success, wilson_interval
from dtql_robot.eval.video.clips import Clip, write_clips
from dtql_robot.eval.video.spec import VideoSpec, choose_episodes, pace
from dtql_robot.replay.players import Player, make_player
from dtql_robot.system.progress import progress_bar
from dtql_robot.types import Array, Demonstrations, Episode, is_image

Use = Literal["actions", "states"]
AGREEMENT = 1e-3


@dataclass(frozen=True)
class Replayed:
    """How one demonstration went.

    success    in the simulator; None where it cannot be judged (states of an environment that judges steps only)
    at_end     success at the last step; None as above
    recorded   success according to the file; None where it has no signal
    agrees     observations, the first one included, before one differs from the recorded one by more than AGREEMENT;
               None where none can be compared
    """

    name: str
    steps: int
    success: bool | None
    at_end: bool | None
    recorded: bool | None
    agrees: int | None


@dataclass(frozen=True)
class Playback:
    """What `play_back` found.  video: the mp4, None where none was requested."""

    env: str
    use: Use
    episodes: tuple[Replayed, ...]
    video: Path | None = None
    disturbed: int = 0
    """Demonstrations in which noise that their actions do not show disturbed the robot."""
    notes: tuple[str, ...] = ()
    """Why what the data records of its environment is not used, where that is so."""

    def __str__(self) -> str:
        judged = [e for e in self.episodes if e.success is not None]
        won = sum(bool(e.success) for e in judged)
        lines = [f"{self.use} of {len(self.episodes)} demonstrations played back in {self.env}"]
        if judged:
            low, high = wilson_interval(won, len(judged))
            ends = sum(bool(e.at_end) for e in judged)
            text = f"  {won} of {len(judged)} succeed (95% interval {low:.0%} to {high:.0%})"
            lines.append(text + (f", {ends} of them at the last step" if ends < won else ""))
        else:
            lines.append("  success cannot be judged from states here; use --use actions")
        known = [e for e in self.episodes if e.recorded is not None]
        if known:
            lines.append(f"  {sum(bool(e.recorded) for e in known)} of {len(known)} succeed according to the file")
        changed = [e.name for e in judged if e.recorded is not None and e.success != e.recorded]
        if changed:
            lines.append(f"  not as recorded: {', '.join(changed[:8])}{', ...' if len(changed) > 8 else ''}")
        if self.use == "actions" and self.disturbed:
            lines.append(
                f"  noise disturbed the robot in {self.disturbed}, which their actions do not contain "
                "(collect --record intended)"
            )
        agrees = [min(e.agrees, e.steps) for e in self.episodes if e.agrees is not None]
        if agrees:
            steps = f"{np.median(agrees):g} of {np.median([e.steps for e in self.episodes]):g}"
            lines.append(f"  observations stay within {AGREEMENT:g} of the recorded ones for {steps} steps (medians)")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        judged = [e for e in self.episodes if e.success is not None]
        return {
            "env": self.env,
            "use": self.use,
            "judged": len(judged),
            "successes": sum(bool(e.success) for e in judged),
            "episodes": [asdict(e) for e in self.episodes],
            "video": None if self.video is None else str(self.video),
            "notes": list(self.notes),
        }


def play_back(
    demos: Demonstrations,
    *,
    env: str | None = None,
    use: Use = "actions",
    video: VideoSpec | None = None,
    camera: str | None = None,
    progress: bool = True,
) -> Playback:
    """Replay every demonstration; film some of them.

    env: where to replay; None: the environment that the data names.  use: "actions" replays the actions, open loop,
    from the recorded first state; "states" shows the recorded states.  Which episodes the video shows is decided when
    all outcomes are known; these are then replayed again.
    """
    frames: dict[str, Any] = {}
    if video is not None:
        frames = {"render": True, "width": video.width, "height": video.height, "camera": camera}
    chosen = choose_env(env, demos.env_spec, demos.env_args, source=demos.source, evaluation=False)
    with contextlib.closing(make_player(demos, chosen, **frames)) as player:
        outcomes = []
        with progress_bar(f"play {use}", total=len(demos), unit="demo", enabled=progress) as bar:
            for episode in demos.episodes:
                outcomes.append(_replay(player, episode, use))
                bar.update()
        if video is not None:
            _film(player, demos, outcomes, use, video, progress)
        path = None if video is None else video.path
        disturbed = sum(bool(e.attrs.get(NOISE_ATTRS["intended"])) for e in demos.episodes)
        return Playback(player.facts.spec, use, tuple(outcomes), path, disturbed, chosen.notes)


def _replay(
    player: Player, episode: Episode, use: Use, frames: list[tuple[int, Array]] | None = None, stride: int = 1
) -> Replayed:
    """One demonstration; every `stride`-th frame goes into `frames`, where given."""

    def draw(step: int) -> None:
        if frames is not None and (step % stride == 0 or step == len(episode)):
            frames.append((step, player.frame()))

    obs = player.start(episode)
    draw(0)
    successes: list[bool | None] = []
    deviations = [_deviation(obs, episode, 0)]
    for step in range(1, len(episode) + 1):
        if use == "actions" or step == len(episode):  # what follows the last action was not recorded
            if use == "states":
                player.ready(episode, step - 1)
            obs, success = player.step(episode.actions[step - 1])
            deviations.append(_deviation(obs, episode, step))
        else:
            success = player.put(episode, step)
        successes.append(success)
        draw(step)
    judged = [bool(s) for s in successes if s is not None]
    unknown = len(judged) < len(successes)
    return Replayed(
        name=episode.name,
        steps=len(episode),
        success=None if unknown else episode_success(judged, player.facts.success_rule),
        at_end=None if unknown else judged[-1],
        recorded=recorded_success(episode, player),
        agrees=_agreement(deviations) if use == "actions" else None,
    )


def _agreement(deviations: Sequence[float | None]) -> int | None:
    """Observations before the first difference above AGREEMENT."""
    known = [d for d in deviations if d is not None]
    if not known:
        return None
    return next((step for step, d in enumerate(known) if d > AGREEMENT), len(known))


def recorded_success(episode: Episode, player: Player) -> bool | None:
    """Success by the file's own signal, under the environment's rule."""
    if episode.success is None:
        return None
    return episode_success([bool(s) for s in episode.success], player.facts.success_rule)


def _deviation(obs: dict[str, Array], episode: Episode, step: int) -> float | None:
    """Largest difference from the recorded observation, over the keys that both have."""
    recorded: dict[str, Array] = {}
    if step < len(episode):
        recorded = {k: v[step] for k, v in episode.obs.items()}
    elif episode.final_obs is not None:
        recorded = episode.final_obs
    shared = [
        k for k, v in recorded.items() if k in obs and np.shape(obs[k]) == v.shape and not is_image(v.shape, v.dtype)
    ]
    return max((float(np.abs(obs[k] - recorded[k]).max()) for k in shared), default=None)


def _film(
    player: Player,
    demos: Demonstrations,
    outcomes: Sequence[Replayed],
    use: Use,
    spec: VideoSpec,
    progress: bool,
) -> None:
    from dtql_robot.envs.rendering.camera import check_frame

    chosen = choose_episodes([bool(o.success) for o in outcomes], spec)
    if not chosen:
        raise InputError(f"No video: there are no {spec.filter} among the {len(demos)} demonstrations.")
    timing = pace(player.facts.fps, max(len(demos.episodes[i]) for i in chosen), spec)
    with progress_bar("film", total=len(chosen), unit="demo", enabled=progress) as bar:

        def clips() -> Iterator[list[Clip]]:
            for episode in (demos.episodes[index] for index in chosen):
                frames: list[tuple[int, Array]] = []
                again = _replay(player, episode, use, frames, timing.stride)
                check_frame(frames[0][1])
                yield [Clip(episode.name, use, len(episode), again.success, frames)]
                bar.update()

        write_clips(spec.path, timing.fps, clips())
