"""The wrapper that makes every environment look the same to evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dtql_robot.envs.info import EnvInfo
from dtql_robot.errors import InputError

SuccessSignal = Callable[[gymnasium.Env, dict[str, Any]], "bool | None"]
SubtaskSignal = Callable[[gymnasium.Env, dict[str, Any]], "dict[str, bool]"]
StageSignal = Callable[[gymnasium.Env, dict[str, Any]], "Mapping[str, bool]"]
"""(environment, info of a step) -> stage -> whether the episode is there after that step."""
Renderer = Callable[[gymnasium.Env], Any]
Observer = Callable[[str, int, int], Any]


def flatten_obs(obs: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dict -> flat dict with "a/b" keys; an observation that is no dict becomes {"observation": obs}."""
    if not isinstance(obs, dict):
        return {prefix or "observation": np.array(obs, np.float32)}
    flat: dict[str, Any] = {}
    for key, value in obs.items():
        flat.update(flatten_obs(value, f"{prefix}/{key}" if prefix else str(key)))
    return flat


def _flatten_space(space: spaces.Space, spec: str, prefix: str = "") -> Iterator[tuple[str, spaces.Box]]:
    if isinstance(space, spaces.Dict):
        for key, sub in space.spaces.items():
            yield from _flatten_space(sub, spec, f"{prefix}/{key}" if prefix else str(key))
    elif isinstance(space, spaces.Box):
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
        yield prefix or "observation", spaces.Box(low, high, space.shape, np.float32)
    else:
        raise InputError(
            f"{spec}: expected observations that are arrays (Box) or dicts of arrays, found {space}; "
            "use an environment with array observations."
        )


def flat_space(space: spaces.Space, spec: str) -> dict[str, spaces.Box]:
    """Flat key -> float32 Box, the spaces of what `flatten_obs` returns."""
    return dict(_flatten_space(space, spec))


class UniformEnv(gymnasium.Wrapper):
    """Flat float32 observations, clipped float32 actions, `info["success"]` after every step.

    Where the environment reports no success, `info` has no "success" key; evaluation says so.
    Where it tells the parts of its task apart, `info["subtasks"]` has part -> whether it has been done so far, and
    where it tells how far the task is, `info["stages"]` has stage -> steps until the episode first was there, or None.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        facts: EnvInfo,
        success: SuccessSignal,
        camera: Renderer | None,
        subtasks: SubtaskSignal | None = None,
        observer: Observer | None = None,
        stages: StageSignal | None = None,
    ) -> None:
        """observer: (camera, width, height) -> a camera for image observations, with `frame` and `close`."""
        super().__init__(env)
        self.observer = observer
        self.facts = facts
        assert isinstance(env.action_space, spaces.Box)
        self._box = env.action_space
        self._success, self._subtasks, self._stages = success, subtasks, stages
        self._begin()
        self._make_camera = camera
        self._camera: Any = None
        self.observation_space = spaces.Dict(dict(flat_space(env.observation_space, facts.spec)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Begin an episode.  Returns ({key: float32 array}, info)."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._begin()
        return flatten_obs(obs), info

    def _begin(self) -> None:
        self._count, self._reached = 0, dict[str, int | None].fromkeys(self.facts.stages)
        self._ahead = self._stages is not None

    def _note_stages(self, info: dict[str, Any]) -> None:
        """Take down which stages a step has reached."""
        self._count += 1
        if not self._ahead or self._stages is None:
            return
        there = self._stages(self.env, info)
        for name, before in self._reached.items():
            if before is None and there.get(name):
                self._reached[name] = self._count
        self._ahead = None in self._reached.values()

    def _told(self, info: dict[str, Any]) -> dict[str, Any]:
        """`info` with what is known of subtasks and stages."""
        if self._subtasks is not None:
            info = {**info, "subtasks": self._subtasks(self.env, info)}
        return {**info, "stages": dict(self._reached)} if self._reached else info

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """One step with the action clipped to its bounds.  `info["success"]` is a bool."""
        obs, reward, terminated, truncated, info = self.env.step(self._clipped(action))
        success = self._success(self.env, info)
        if success is not None:
            info = {**info, "success": success}
        self._note_stages(info)
        return flatten_obs(obs), float(reward), bool(terminated), bool(truncated), self._told(info)

    def steps(self, actions: Any) -> tuple[dict, list[float], list[bool | None], bool, dict]:
        """`step` with each of actions (K, A) until the episode ends, without what lies between them.

        Returns the last observation, each executed step's reward and success, whether the episode has ended, and the
        last info.
        """
        rewards: list[float] = []
        successes: list[bool | None] = []
        ended, env, success = False, self.env, self._success
        for action in self._clipped(actions):
            obs, reward, terminated, truncated, info = env.step(action)
            rewards.append(float(reward))
            successes.append(success(env, info))
            self._note_stages(info)
            if terminated or truncated:
                ended = True
                break
        return flatten_obs(obs), rewards, successes, ended, self._told(info)

    def _clipped(self, action: Any) -> Any:
        clipped = np.minimum(np.maximum(np.asarray(action, np.float32), self._box.low), self._box.high)
        return clipped.astype(self._box.dtype, copy=False)

    def render(self) -> Any:
        """The scene as (height, width, 3) uint8."""
        if self._make_camera is None:
            raise InputError("This environment was made without frames; use make_env(..., render=True).")
        if self._camera is None:
            self._camera = self._make_camera(self.env)
        return self._camera.frame()

    def close(self) -> None:
        """Free the simulator and its renderer; a second call does nothing."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None
        super().close()


def box_action_dim(env: gymnasium.Env, spec: str) -> int:
    """Entries of one action; InputError for anything but a one-dimensional Box."""
    space = env.action_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise InputError(
            f"{spec}: expected continuous actions (a one-dimensional Box), found {space}; "
            "this package learns continuous robot actions only."
        )
    return int(space.shape[0])
