"""One environment that runs whole chunks of actions."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.make import make_env
from dtql_robot.errors import InputError
from dtql_robot.types import Array, ImageObs

if TYPE_CHECKING:
    import gymnasium

PROBE_SECONDS = 0.2


class ChunkResult(NamedTuple):
    """What came of executing a chunk: the observation after it and, for each executed step, reward and success.

    subtasks: part of the task -> done so far in this episode, where the environment tells.
    """

    obs: dict[str, Array]
    rewards: list[float]
    successes: list[bool]
    done: bool
    subtasks: dict[str, bool]


@dataclass(frozen=True)
class Lost:
    """The environment's process died or hung, and was replaced: what it was doing is to be done again."""

    reason: str


Reply = dict[str, Array] | ChunkResult | Lost


class EnvServer:
    """One environment, driven by chunks.  `env` is the environment to drive where it is made already."""

    def __init__(
        self,
        spec: str,
        max_episode_steps: int | None = None,
        env_args: dict[str, Any] | None = None,
        images: ImageObs | None = None,
        env: gymnasium.Env | None = None,
    ) -> None:
        self.env = env or make_env(spec, max_episode_steps=max_episode_steps, env_args=env_args, images=images)
        from dtql_robot.envs.rendering.image_obs import image_env
        from dtql_robot.envs.wrapper import UniformEnv

        self._spec, self._image_env = spec, image_env(self.env)
        self._steps = self.env.steps if isinstance(self.env, UniformEnv) else self._steps_through_wrappers

    def facts(self) -> EnvInfo:
        """The environment's horizon, success rule, cameras and shapes."""
        return self.env.get_wrapper_attr("facts")

    def reset(self, seed: int) -> dict[str, Array]:
        """Begin an episode.  Returns its first observation, key -> array."""
        return self.env.reset(seed=seed)[0]

    def step_seconds(self) -> float:
        """Measured processor time of one step, of an episode begun for this purpose.

        Processor time, because the machine's other work must not make a cheap simulator look dear.
        """
        self.env.reset(seed=0)
        action = self.env.action_space.sample()
        count, start, end = 0, time.process_time(), time.perf_counter() + PROBE_SECONDS
        while count == 0 or time.perf_counter() < end:
            _, _, terminated, truncated, _ = self.env.step(action)
            count += 1
            if terminated or truncated:
                break
        return (time.process_time() - start) / count

    def run_chunk(self, actions: Array) -> ChunkResult:
        """Execute actions (K, A) in order, stopping early where the episode ends."""
        obs, rewards, successes, ended, info = self._steps(actions)
        if None in successes:
            raise InputError(
                f"{self._spec} reports no success: expected 'success' or 'is_success' in the info of each step, "
                f"found {sorted(info) or 'nothing'}; wrap the environment so that it reports one."
            )
        return ChunkResult(obs, rewards, cast(list[bool], successes), ended, info.get("subtasks", {}))

    def _steps_through_wrappers(self, actions: Array) -> tuple[dict, list[float], list[bool | None], bool, dict]:
        """`UniformEnv.steps` where that is wrapped: every step goes through all wrappers."""
        rewards, successes = [], []
        ended = False
        for left, action in zip(range(len(actions) - 1, -1, -1), actions, strict=True):
            if self._image_env is not None:  # only the frames that the next decision sees are drawn
                self._image_env.drawing = left < self._image_env.images.frames
            obs, reward, terminated, truncated, info = self.env.step(action)
            rewards.append(float(reward))
            successes.append(info.get("success"))
            if terminated or truncated:
                ended = True
                break
        return obs, rewards, successes, ended, info

    def close(self) -> None:
        """Free the simulator."""
        self.env.close()
