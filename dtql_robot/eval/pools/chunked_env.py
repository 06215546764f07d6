"""One environment that runs whole chunks of actions, and is made anew where it fails."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.make import make_env
from dtql_robot.errors import InputError, describe
from dtql_robot.types import Array, ImageObs

if TYPE_CHECKING:
    import gymnasium

PROBE_SECONDS = 0.2
UNKNOWN_SECONDS = 1e-2  # taken for a step where measuring it fails
FAULTS = (Exception, SystemExit)
"""What a simulator's code may raise that ends an episode and nothing else."""


class ChunkResult(NamedTuple):
    """What came of executing a chunk: the observation after it and, for each executed step, reward and success.

    successes: None at every step of an environment that reports none.
    subtasks: part of the task -> done so far in this episode, where the environment tells.
    stages: stage of the task -> steps until this episode first was there, or None; where the environment tells.
    """

    obs: dict[str, Array]
    rewards: list[float]
    successes: list[bool | None]
    done: bool
    subtasks: dict[str, bool]
    stages: dict[str, int | None]


@dataclass(frozen=True)
class Lost:
    """An episode cannot go on: its process died or hung, or its environment failed.

    Either was replaced, so that what it was doing can be done again.
    """

    reason: str


Reply = dict[str, Array] | ChunkResult | Lost


class EnvServer:
    """One environment, driven by chunks.  `env` is the environment to drive where it is made already.

    What its code raises, or answers that is no answer, makes `Lost`, and the next `reset` makes a new one.  An
    InputError is not for one episode alone and is raised.
    """

    def __init__(
        self,
        spec: str,
        max_episode_steps: int | None = None,
        env_args: dict[str, Any] | None = None,
        images: ImageObs | None = None,
        env: gymnasium.Env | None = None,
    ) -> None:
        self._spec, self._args = spec, (max_episode_steps, env_args, images)
        self._broken, self._replaceable = False, env is None
        self._reports_success: bool | None = None  # not known before the first step
        self._use(env or self._make())

    def _make(self) -> gymnasium.Env:
        steps, env_args, images = self._args
        try:
            return make_env(self._spec, max_episode_steps=steps, env_args=env_args, images=images)
        except InputError:
            raise
        except FAULTS as error:
            raise InputError(f"{self._spec} cannot be made: {describe(error)}.") from error

    def _use(self, env: gymnasium.Env) -> None:
        from dtql_robot.envs.rendering.image_obs import image_env
        from dtql_robot.envs.wrapper import UniformEnv

        self.env, self._image_env = env, image_env(env)
        self._steps = env.steps if isinstance(env, UniformEnv) else self._steps_through_wrappers
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._count = 0

    def facts(self) -> EnvInfo:
        """The environment's horizon, success rule, cameras and shapes."""
        return self.env.get_wrapper_attr("facts")

    def _lost(self, doing: str, error: BaseException) -> Lost:
        """What a fault makes of the episode; an InputError is raised."""
        if isinstance(error, InputError):
            raise error
        self._broken = True
        return Lost(f"{self._spec} failed in {doing}: {describe(error)}.")

    def reset(self, seed: int) -> dict[str, Array] | Lost:
        """Begin the episode of this seed."""
        try:
            return self._reset(seed)
        except FAULTS as error:
            return self._lost("reset", error)

    def _reset(self, seed: int) -> dict[str, Array]:
        if self._broken and self._replaceable:
            self.close()
            self._use(self._make())
        self._broken, self._count = False, 0
        obs = self.env.reset(seed=seed)[0]
        if not self._shapes:
            self._shapes = {key: value.shape for key, value in obs.items()}
        self._check_shapes(obs)
        return obs

    def _check_successes(self, successes: Sequence[bool | None]) -> None:
        """An environment reports success after every step or after none."""
        if self._reports_success is None:
            self._reports_success = successes[0] is not None
        if successes.count(None) != (0 if self._reports_success else len(successes)):
            raise InputError(
                f"{self._spec} reports success at some steps only: expected 'success' or 'is_success' in the info of "
                "each step or of none; wrap the environment so that it does."
            )

    def _check_rewards(self, rewards: list[float]) -> None:
        for step, reward in enumerate(rewards, start=self._count + 1):
            if not math.isfinite(reward):
                raise ValueError(f"the reward of step {step} is {reward}")

    def _check_shapes(self, obs: Mapping[str, Array]) -> None:
        if {key: value.shape for key, value in obs.items()} == self._shapes:
            return
        for key, shape in self._shapes.items():
            if key not in obs:
                raise ValueError(f"the observation {key!r} of the first reset is missing")
            if obs[key].shape != shape:
                raise ValueError(f"the observation {key!r} has shape {obs[key].shape}, at the first reset {shape}")

    def step_seconds(self) -> float:
        """Measured processor time of one step, of an episode begun for this purpose.

        Processor time, because the machine's other work must not make a cheap simulator look dear.
        """
        try:
            return self._step_seconds()
        except FAULTS as error:
            self._lost("step", error)
            return UNKNOWN_SECONDS

    def _step_seconds(self) -> float:
        self.env.reset(seed=0)
        action = self.env.action_space.sample()
        count, start, end = 0, time.process_time(), time.perf_counter() + PROBE_SECONDS
        while count == 0 or time.perf_counter() < end:
            _, _, terminated, truncated, _ = self.env.step(action)
            count += 1
            if terminated or truncated:
                break
        return (time.process_time() - start) / count

    def run_chunk(self, actions: Array) -> ChunkResult | Lost:
        """Execute actions (K, A) in order, stopping early where the episode ends."""
        try:
            return self._run_chunk(actions)
        except FAULTS as error:
            return self._lost("step", error)

    def _run_chunk(self, actions: Array) -> ChunkResult:
        obs, rewards, successes, ended, info = self._steps(actions)
        self._check_successes(successes)
        if not math.isfinite(sum(rewards)):
            self._check_rewards(rewards)
        self._count += len(rewards)
        self._check_shapes(obs)
        return ChunkResult(obs, rewards, successes, ended, info.get("subtasks", {}), info.get("stages", {}))

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
        """What an environment fails in when it ends changes no result."""
        with contextlib.suppress(*FAULTS):
            self.env.close()
