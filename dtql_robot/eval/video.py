"""Video of chosen episodes, filmed after the evaluation by playing their seeds again.

Which episodes fail is known only afterwards, and drawing every episode would be slow.  Playing an episode again is
exact, because its environment and its policy noise depend on its seed alone; it is checked for every filmed episode.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtql_robot.envs.gl import gl_missing
from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.make import make_env
from dtql_robot.errors import InputError
from dtql_robot.eval.env_pool import EnvServer, LocalPool
from dtql_robot.eval.labels import Frame, caption, card
from dtql_robot.eval.result import EpisodeResult, EvalResult
from dtql_robot.eval.rollout import run_episodes
from dtql_robot.types import Policy

if TYPE_CHECKING:
    import gymnasium

CARD_SECONDS = 1.6
HOLD_SECONDS = 0.7


@dataclass(frozen=True)
class VideoSpec:
    """What to film.

    path           the mp4 to write
    episodes       how many episodes to show
    max_failures   at most this many of them failures, where there are successes to show (default: half)
    width, height  of the picture in pixels, multiples of 16; the caption adds a strip below
    fps            frames per second of the video; None plays in real time where the episode is short enough
    max_frames     longer episodes skip steps to stay within this many frames
    """

    path: Path
    episodes: int = 6
    max_failures: int | None = None
    width: int = 320
    height: int = 320
    fps: int | None = None
    max_frames: int = 150

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if self.episodes < 1 or self.max_frames < 2:
            raise InputError(f"A video needs 1 episode and 2 frames or more, found {self.episodes}, {self.max_frames}.")
        if self.width % 16 or self.height % 16 or min(self.width, self.height) < 160:
            raise InputError(
                f"Video width and height must be multiples of 16 and at least 160, found {self.width}x{self.height}."
            )
        if self.path.suffix != ".mp4":
            raise InputError(f"The video must be an .mp4 file, found {self.path}.")


@dataclass(frozen=True)
class Pace:
    """Every `stride`-th step is drawn and `fps` frames are shown a second, which is `speed` times real time."""

    stride: int
    fps: int
    speed: float


def pace(env_fps: int, horizon: int, spec: VideoSpec) -> Pace:
    """Real time at no more than 30 frames a second, faster where the episode would exceed max_frames."""
    real_time = math.ceil(env_fps / 30)
    stride = max(real_time, math.ceil(horizon / spec.max_frames))
    fps = spec.fps or max(1, round(env_fps / real_time))
    return Pace(stride, fps, stride * fps / env_fps)


def pick_episodes(successes: Sequence[bool], count: int, max_failures: int | None = None) -> list[int]:
    """Indices of `count` episodes: up to `max_failures` (default half) failures, filled up with successes.

    More failures are shown only where there are too few successes to fill the video.
    """
    limit = count // 2 if max_failures is None else max_failures
    failed = [i for i, success in enumerate(successes) if not success]
    won = [i for i, success in enumerate(successes) if success]
    shown = failed[: min(limit, count)]
    shown += won[: count - len(shown)]
    shown += failed[limit:][: count - len(shown)]
    return sorted(shown)


def _filming(env: gymnasium.Env, stride: int) -> Any:
    """The environment, keeping a frame of every `stride`-th step and of the last one in `frames` as (step, frame)."""
    import gymnasium

    class Filming(gymnasium.Wrapper):
        frames: list[tuple[int, Frame]]
        step_count: int

        def reset(self, **kwargs: Any) -> tuple[Any, dict]:
            outcome = self.env.reset(**kwargs)
            self.step_count, self.frames = 0, [(0, self.env.render())]  # type: ignore[list-item]
            return outcome

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
            outcome = self.env.step(action)
            self.step_count += 1
            if self.step_count % stride == 0 or outcome[2] or outcome[3]:
                self.frames.append((self.step_count, self.env.render()))  # type: ignore[arg-type]
            return outcome

    return Filming(env)


def _intro(result: EvalResult, shown: Sequence[EpisodeResult], speed: float) -> list[str]:
    """Lines of the title card: the rate, and what the video shows of it."""
    low, high = result.ci95
    failures = sum(not e.success for e in shown)
    lines = [
        f"{result.success_rate:.0%} success",
        result.env,
        f"{result.successes} of {result.episodes} episodes, 95% interval {low:.0%} to {high:.0%}",
    ]
    if result.successes == result.episodes:
        lines.append(f"No episode failed; {len(shown)} of them shown")
    elif result.successes == 0:
        lines.append(f"No episode succeeded; {len(shown)} of them shown")
    else:
        lines.append(f"Shown: {failures} failed, {len(shown) - failures} succeeded")
    if speed > 1.05:
        lines.append(f"Played {speed:.2g} times as fast as real time")
    return lines


@contextlib.contextmanager
def mp4_writer(path: Path, fps: int) -> Any:
    """An H.264 writer (`append_data`) whose file appears at `path` only when it is complete."""
    import imageio.v2 as imageio

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part.mp4")
    try:
        with imageio.get_writer(
            part, fps=fps, codec="libx264", pixelformat="yuv420p", quality=7, macro_block_size=16
        ) as writer:
            yield writer
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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

    Where no frame can be drawn the path is None and the note says why.  An episode that ends otherwise than it was
    recorded is left out and the note says so: then the policy's choice depends on the other robots in its batch.
    """
    missing = gl_missing()
    if missing is not None:
        return None, f"No video. {missing}"
    try:
        odd = _film(policy, result, spec, max_episode_steps, env_args, progress)
    except Exception as error:  # a finished evaluation must not be lost to its video
        warnings.warn(f"The video could not be made: {error!r}", stacklevel=2)
        return None, f"No video. Drawing failed: {type(error).__name__}: {error}"
    if not odd:
        return spec.path, None
    seeds = ", ".join(str(seed) for seed in odd)
    return spec.path, f"Played again, the episodes with seed {seeds} ended otherwise than recorded and are left out."


def _film(
    policy: Policy,
    result: EvalResult,
    spec: VideoSpec,
    max_episode_steps: int | None,
    env_args: dict[str, Any] | None,
    progress: bool,
) -> list[int]:
    """Film the chosen episodes; returns the seeds that ended otherwise than recorded."""
    from tqdm import tqdm

    env = make_env(
        result.env,
        render=True,
        width=spec.width,
        height=spec.height,
        max_episode_steps=max_episode_steps,
        env_args=env_args,
    )
    facts: EnvInfo = env.get_wrapper_attr("facts")
    timing = pace(facts.fps, result.horizon, spec)
    camera = _filming(env, timing.stride)
    chosen = pick_episodes([e.success for e in result.per_episode], spec.episodes, spec.max_failures)
    odd = []
    with (
        contextlib.closing(LocalPool(EnvServer(result.env, env=camera))) as pool,
        mp4_writer(spec.path, timing.fps) as writer,
    ):
        shown = [result.per_episode[i] for i in chosen]
        for _ in range(round(CARD_SECONDS * timing.fps)):
            writer.append_data(card(spec.width, spec.height, _intro(result, shown, timing.speed)))
        for index in tqdm(chosen, desc="film", unit="ep", disable=not progress):
            recorded = result.per_episode[index]
            (again,) = run_episodes(policy, pool, 1, [recorded.seed], facts)
            if again != recorded:
                odd.append(recorded.seed)
                continue
            _write_episode(writer, camera.frames, recorded, f"Episode {index + 1} of {result.episodes}", timing.fps)
    return odd


def _write_episode(
    writer: Any, frames: Sequence[tuple[int, Frame]], episode: EpisodeResult, title: str, fps: int
) -> None:
    """Captioned frames of one episode; the last one stays a moment."""
    from dtql_robot.envs.camera import check_frame

    check_frame(frames[0][1])
    for step, frame in frames:
        detail = f"seed {episode.seed}   step {step}/{episode.length}"
        picture = caption(frame, title=title, detail=detail, success=episode.success)
        writer.append_data(picture)
    for _ in range(round(HOLD_SECONDS * fps)):
        writer.append_data(picture)
