"""An environment with a camera in it, in which a policy plays recorded episodes again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.make import make_env
from dtql_robot.errors import InputError
from dtql_robot.eval.episode_result import EpisodeResult
from dtql_robot.eval.pools.chunked_env import EnvServer
from dtql_robot.eval.pools.env_pool import LocalPool
from dtql_robot.eval.rollout import run_episodes
from dtql_robot.eval.video.attention import Looking, beside, column_width
from dtql_robot.eval.video.clips import Clip
from dtql_robot.eval.video.labels import NOTE, STRIP
from dtql_robot.eval.video.spec import Pace, VideoSpec, pace
from dtql_robot.eval.video.take import Decorate, DrawingError, Take, Valued, filming
from dtql_robot.eval.video.traces import HEIGHT
from dtql_robot.types import Policy, image_obs_of

if TYPE_CHECKING:
    import gymnasium

    from dtql_robot.envs.rendering.image_obs import ImageObsEnv


class Studio:
    """A policy before a camera.  Close it when done.

    size  width and height of one episode's captioned picture
    pace  how many steps are drawn
    """

    def __init__(
        self,
        policy: Policy,
        env_spec: str,
        horizon: int,
        spec: VideoSpec,
        max_episode_steps: int | None = None,
        env_args: dict[str, Any] | None = None,
    ) -> None:
        self._spec = spec
        env = make_env(
            env_spec,
            render=True,
            width=spec.width,
            height=spec.height,
            max_episode_steps=max_episode_steps,
            env_args=env_args,
            camera=spec.camera,
            images=image_obs_of(policy),
        )
        self.facts: EnvInfo = env.get_wrapper_attr("facts")
        self.pace: Pace = pace(self.facts.fps, horizon, spec)
        watched = _watched(env, spec)
        beside_it = column_width(spec.height, len(watched.images.shapes)) if watched else 0
        measured = self.facts.measure is not None
        self.size = spec.width + beside_it, spec.height + HEIGHT * len(spec.curves) + STRIP + NOTE * measured
        self._camera = filming(env, spec, self.pace.stride, _decoration(policy, env, spec))
        self._policy: Policy = Valued(policy, self._camera) if "q" in spec.curves else policy
        self._pool = LocalPool([EnvServer(env_spec, env=self._camera)])

    def play(self, recorded: EpisodeResult) -> Take | None:
        """The episode as it is filmed; None where it does not end as it was recorded, or cannot be played this time."""
        try:
            ((again,), _) = run_episodes(self._policy, self._pool, 1, [recorded.seed], self.facts)
        except DrawingError:
            raise
        except InputError:
            return None
        return self._camera.take if again == _as_told(recorded, again) else None

    def clip(self, recorded: EpisodeResult, title: str) -> Clip | None:
        """The episode, captioned; None as for `play`."""
        take = self.play(recorded)
        if take is None:
            return None
        panels = take.panels(self._spec.curves, self.size[0])
        about = f"seed {recorded.seed}"
        return Clip(
            title,
            about,
            recorded.length,
            recorded.success,
            take.frames,
            recorded.episode_return,
            take.signals,
            take.notes,
            panels,
        )

    def close(self) -> None:
        """Free the simulator and its camera."""
        self._pool.close()


def _as_told(recorded: EpisodeResult, again: EpisodeResult) -> EpisodeResult:
    """What was recorded, less what results of earlier versions do not tell."""
    return recorded if recorded.starts else replace(recorded, starts=again.starts, measure=again.measure)


def _watched(env: gymnasium.Env, spec: VideoSpec) -> ImageObsEnv | None:
    """What draws the images that the policy sees, where they are to be shown."""
    from dtql_robot.envs.rendering.image_obs import image_env

    return image_env(env) if spec.looks else None


def _decoration(policy: Policy, env: gymnasium.Env, spec: VideoSpec) -> Decorate:
    """What is drawn beside each frame."""
    inner, kind = _watched(env, spec), spec.looks
    if inner is None or kind is None:
        return lambda frame, obs: frame
    inner.watched = True
    return lambda frame, obs: beside(frame, cast("Looking", policy), obs, kind)


def left_out(odd: Sequence[int]) -> str | None:
    """The sentence on seeds whose episodes ended differently when they were played again; None for none."""
    if not odd:
        return None
    seeds = ", ".join(str(seed) for seed in odd)
    return f"Played again, the episodes with seed {seeds} ended differently and are left out."
