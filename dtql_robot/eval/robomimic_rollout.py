"""robomimic's own rollout code driving our policy in our environments.

    from robomimic.utils.train_utils import rollout_with_stats
    policy = rollout_policy(load_policy("runs/lift"), seed=0)
    env = rollout_env("robosuite:Lift")
    logs, _ = rollout_with_stats(policy, {"Lift": env}, horizon=400, num_episodes=50, terminate_on_success=True)

Needs `pip install 'dtql-robot[robomimic]'` and a torchvision that goes with the installed torch, which robomimic
imports together with its image models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dtql_robot.env_record import ENV_TYPE_GYM
from dtql_robot.envs.make import make_env
from dtql_robot.envs.seeding import evaluation_seed
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Obs

if TYPE_CHECKING:
    import gymnasium


class ActingPolicy(Protocol):
    """What robomimic's rollout needs of a policy: `OneStepPolicy` is one."""

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode."""

    def act(self, obs: Obs) -> Array:
        """The action, (A,), for one observation, key -> array."""


def _robomimic() -> tuple[Any, Any]:
    """(robomimic's RolloutPolicy, its EnvBase); InputError where they cannot be imported."""
    try:
        from robomimic.algo import RolloutPolicy
        from robomimic.envs.env_base import EnvBase
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision built for another torch
        raise InputError(
            f"robomimic's rollout code cannot be imported ({error}): `pip install 'dtql-robot[robomimic]'` with the "
            "torch and torchvision of constraints.txt (torchvision 0.28.0 goes with torch 2.13.0)."
        ) from error
    return RolloutPolicy, EnvBase


def rollout_policy(policy: ActingPolicy, seed: int = 0) -> Any:
    """The policy as a robomimic `RolloutPolicy`.

    Episode i draws the policy's noise from the seed that our own evaluation with this `seed` gives it.
    Our policy normalizes its observations itself, so robomimic's statistics are not for it.
    """
    base, _ = _robomimic()

    class OneStepRolloutPolicy(base):  # type: ignore[valid-type,misc]
        def __init__(self) -> None:
            super().__init__(policy)
            self._episode = 0

        def start_episode(self) -> None:
            policy.reset(evaluation_seed(seed, self._episode))
            self._episode += 1

        def __call__(self, ob: Obs, goal: Obs | None = None) -> Array:
            """The action (A,) for one observation, key -> (...).  A goal is read as further observations."""
            return np.asarray(policy.act({**ob, **(goal or {})}), np.float32)

    return OneStepRolloutPolicy()


def rollout_env(spec: str, *, seed: int = 0, env_args: dict[str, Any] | None = None, render: bool = False) -> Any:
    """The environment of a spec as a robomimic `EnvBase`.

    Episode i starts from the environment seed of episode i of our own evaluation with this `seed`.
    """
    _, base = _robomimic()
    env = make_env(spec, env_args=env_args, render=render)
    return type(base)("RobomimicEnv", (RolloutEnv, base), {})(env, seed)


class RolloutEnv:
    """What robomimic's `EnvBase` asks for, all of whose abstract methods must be there."""

    def __init__(self, env: gymnasium.Env, seed: int) -> None:
        self.env, self._seed, self._episode = env, seed, 0
        self._facts = env.get_wrapper_attr("facts")
        self._obs: dict[str, Array] = {}
        self._reward, self._done, self._success = 0.0, False, {"task": False}

    def reset(self) -> dict[str, Array]:
        """Begin the next episode.  Returns its first observation, key -> array."""
        self._obs, _ = self.env.reset(seed=evaluation_seed(self._seed, self._episode))
        self._episode += 1
        self._reward, self._done, self._success = 0.0, False, {"task": False}
        return self._obs

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, dict]:
        """Execute an action (A,).  Returns (observation, reward, whether the episode has ended, info)."""
        self._obs, self._reward, terminated, truncated, info = self.env.step(action)  # type: ignore[assignment]
        self._done = terminated or truncated
        self._success = {"task": bool(info.get("success")), **info.get("subtasks", {})}
        return self._obs, self._reward, self._done, info

    def render(self, mode: str = "human", height: Any = None, width: Any = None, camera_name: Any = None) -> Any:
        """The scene as (height, width, 3) uint8, for mode "rgb_array" alone."""
        if mode != "rgb_array":
            raise InputError(f"{self.name} is drawn only as an array (mode 'rgb_array'), found {mode!r}.")
        return self.env.render()

    def reset_to(self, state: dict[str, Any]) -> None:
        """Refused: recorded states are not put back through this adapter."""
        raise NotImplementedError("recorded states are played back by `dtql-robot`, not through robomimic")

    def get_observation(self) -> dict[str, Array]:
        """The observation after the last step."""
        return self._obs

    def get_state(self) -> dict[str, Any]:
        """Refused: simulator states are not read through this adapter."""
        raise NotImplementedError("simulator states are not read through this adapter")

    def get_reward(self) -> float:
        """The reward of the last step."""
        return self._reward

    def get_goal(self) -> dict[str, Array]:
        """Empty: a goal is part of the observation."""
        return {}

    def set_goal(self, **kwargs: Any) -> None:
        """Refused: a goal is part of the observation."""
        raise NotImplementedError("goals are part of the observation")

    def is_done(self) -> bool:
        """Whether the episode has ended."""
        return self._done

    def is_success(self) -> dict[str, bool]:
        """`task` and the parts of the task -> whether the last step reports them done (no task, where none is told)."""
        return self._success

    @property
    def action_dimension(self) -> int:
        """Entries of one action."""
        return self._facts.action_dim

    @property
    def name(self) -> str:
        """The environment in this package's notation."""
        return self._facts.spec

    @property
    def type(self) -> int:
        """The number that robomimic has for Gymnasium environments."""
        return ENV_TYPE_GYM

    def serialize(self) -> dict[str, Any]:
        """What robomimic writes of an environment into a file."""
        return {"env_name": self.name, "type": self.type, "env_kwargs": {}}

    @classmethod
    def create_for_data_processing(cls, *args: Any, **kwargs: Any) -> Any:
        """Refused: this package extracts observations itself."""
        raise NotImplementedError("`dtql-robot` extracts observations itself")

    @property
    def rollout_exceptions(self) -> tuple[Any, ...]:
        """Nothing that an environment raises is passed over."""
        return ()
