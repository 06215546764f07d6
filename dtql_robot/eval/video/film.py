"""Video of chosen episodes, filmed after the evaluation by playing their seeds again.

Which episodes fail is known only afterwards, and drawing every episode would be slow.  Playing an episode again is
exact, because its environment and its policy noise depend on its seed alone; it is checked for every filmed episode.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.make import make_env
from dtql_robot.envs.rendering.gl import gl_missing
from dtql_robot.errors import InputError, describe
from dtql_robot.eval.pools.chunked_env import EnvServer
from dtql_robot.eval.pools.env_pool import LocalPool
from dtql_robot.eval.result import EpisodeResult, EvalResult
from dtql_robot.eval.rollout import run_episodes
from dtql_robot.eval.video.attention import Looking, beside, column_width
from dtql_robot.eval.video.clips import Clip, grid_shape, write_clips
from dtql_robot.eval.video.labels import PAPER, card, fitted
from dtql_robot.eval.video.spec import VideoSpec, choose_episodes, pace, spread
from dtql_robot.system.progress import progress_bar
from dtql_robot.types import Frame, Policy, image_obs_of

if TYPE_CHECKING:
    import gymnasium

    from dtql_robot.envs.rendering.image_obs import ImageObsEnv

Decorate = Callable[[Frame, dict[str, Any]], Frame]


class DrawingError(InputError):
    """The environment draws no picture: nothing that playing the episode again would mend."""


def _filming(env: gymnasium.Env, stride: int, width: int, height: int, decorate: Decorate) -> Any:
    """The environment, keeping a frame of every `stride`-th step and of the last one in `frames` as (step, frame).

    Every frame is checked; DrawingError for one that is blank or noise.
    width, height: of every frame; one that the environment draws otherwise is fitted into them.
    decorate: (frame, observation) -> the frame that is kept.
    """
    import gymnasium

    from dtql_robot.envs.rendering.camera import check_frame

    class Filming(gymnasium.Wrapper):
        frames: list[tuple[int, Frame]]
        step_count: int

        def _draw(self, obs: Any) -> None:
            try:
                frame = fitted(self.env.render(), width, height)
                check_frame(frame)
            except Exception as error:
                raise DrawingError(describe(error)) from error
            self.frames.append((self.step_count, decorate(frame, obs)))

        def reset(self, **kwargs: Any) -> tuple[Any, dict]:
            outcome = self.env.reset(**kwargs)
            self.step_count, self.frames = 0, []
            self._draw(outcome[0])
            return outcome

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
            outcome = self.env.step(action)
            self.step_count += 1
            if self.step_count % stride == 0 or outcome[2] or outcome[3]:
                self._draw(outcome[0])
            return outcome

    return Filming(env)


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
    return [f"Played {speed:.2g} times as fast as real time"] if speed > 1.05 else []


def film(
    policy: Policy,
    result: EvalResult,
    spec: VideoSpec,
    *,
    max_episode_steps: int | None = None,
    env_args: dict[str, Any] | None = None,
    progress: bool = True,
) -> tuple[Path | None, str | None]:
    """Write the video of an evaluation; returns (its path, a note).

    Where no frame can be drawn, or the filter leaves no episode, the path is None and the note says why.  An episode
    that ends otherwise than it was recorded is left out and the note says so: then the policy's choice depends on the
    other robots in its batch.
    """
    missing = gl_missing()
    if missing is not None:
        return None, f"No video. {missing}"
    if not (result.reports_success or spec.filter == "all"):
        return None, f"No video. {result.env} reports no success, so that there are no {spec.filter} to show."
    chosen = _chosen(result, spec)
    if not chosen:
        kind = "episodes that can be played" if spec.filter == "all" else spec.filter
        return None, f"No video. There are no {kind} among the {result.episodes} episodes."
    try:
        odd = _film(policy, result, spec, chosen, max_episode_steps, env_args, progress)
    except Exception as error:  # a finished evaluation must not be lost to its video
        warnings.warn(f"The video could not be made: {error!r}", stacklevel=2)
        reason = str(error) if isinstance(error, InputError) else describe(error)
        return None, f"No video. Drawing failed: {reason}"
    if not odd:
        return spec.path, None
    seeds = ", ".join(str(seed) for seed in odd)
    return spec.path, f"Played again, the episodes with seed {seeds} ended otherwise than recorded and are left out."


def _chosen(result: EvalResult, spec: VideoSpec) -> list[int]:
    """Indices of the episodes to film, none of which failed for the simulator's sake: it would fail again."""
    played = [i for i, episode in enumerate(result.per_episode) if not episode.error]
    if spec.pick:
        return [i for i in spec.pick if i in played]
    if not (result.reports_success or spec.random):
        return sorted(played[i] for i in spread([result.per_episode[i].episode_return for i in played], spec.episodes))
    return [played[i] for i in choose_episodes([bool(result.per_episode[i].success) for i in played], spec)]


def _film(
    policy: Policy,
    result: EvalResult,
    spec: VideoSpec,
    chosen: Sequence[int],
    max_episode_steps: int | None,
    env_args: dict[str, Any] | None,
    progress: bool,
) -> list[int]:
    """Film the chosen episodes; returns the seeds that ended otherwise than recorded."""
    env = make_env(
        result.env,
        render=True,
        width=spec.width,
        height=spec.height,
        max_episode_steps=max_episode_steps,
        env_args=env_args,
        camera=spec.camera,
        images=image_obs_of(policy),
    )
    decorate = _overlay(policy, env, spec)
    facts: EnvInfo = env.get_wrapper_attr("facts")
    timing = pace(facts.fps, result.horizon, spec)
    odd: list[int] = []
    shown = [result.per_episode[i] for i in chosen]
    columns, rows = grid_shape(len(chosen)) if spec.grid else (1, 1)
    watched = _watched(env, spec)
    width = spec.width + (column_width(spec.height, len(watched.images.shapes)) if watched else 0)
    title = card(columns * width, spec.height, _intro(result, shown, timing.speed))
    filming = EnvServer(result.env, env=_filming(env, timing.stride, spec.width, spec.height, decorate))
    with contextlib.closing(LocalPool([filming])) as pool:
        clips = _clips(policy, result, pool, chosen, facts, odd, progress)
        opening = _centred(title, rows * title.shape[0])
        write_clips(spec.path, timing.fps, clips, opening=opening, columns=columns if spec.grid else 0)
    return odd


def _watched(env: gymnasium.Env, spec: VideoSpec) -> ImageObsEnv | None:
    """What draws the images that the policy sees, where they are to be shown."""
    from dtql_robot.envs.rendering.image_obs import image_env

    return image_env(env) if spec.overlay else None


def _overlay(policy: Policy, env: gymnasium.Env, spec: VideoSpec) -> Decorate:
    """What is drawn beside each frame."""
    inner, kind = _watched(env, spec), spec.overlay
    if inner is None or kind is None:
        return lambda frame, obs: frame
    inner.watched = True
    return lambda frame, obs: beside(frame, cast("Looking", policy), obs, kind)


def _clips(
    policy: Policy,
    result: EvalResult,
    pool: LocalPool,
    chosen: Sequence[int],
    facts: EnvInfo,
    odd: list[int],
    progress: bool,
) -> Iterator[Clip]:
    """Play the chosen episodes again; those that end otherwise than recorded are left out and added to `odd`."""
    camera: Any = pool.servers[0].env
    for index in progress_bar("film", over=chosen, total=len(chosen), unit="ep", enabled=progress):
        recorded = result.per_episode[index]
        try:
            ((again,), _) = run_episodes(policy, pool, 1, [recorded.seed], facts)
        except DrawingError:
            raise
        except InputError:  # the episode cannot be played this time
            again = None
        if again != recorded:
            odd.append(recorded.seed)
            continue
        title = f"Episode {index + 1} of {result.episodes}"
        yield Clip(
            title, f"seed {recorded.seed}", recorded.length, recorded.success, camera.frames, recorded.episode_return
        )


def _centred(picture: Frame, height: int) -> Frame:
    """The picture between two bands that fill `height`."""
    above = (height - picture.shape[0]) // 2
    whole = np.full((height, *picture.shape[1:]), PAPER, np.uint8)
    whole[above : above + picture.shape[0]] = picture
    return whole
