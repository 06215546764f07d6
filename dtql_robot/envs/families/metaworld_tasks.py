"""The family "metaworld:": the 50 tasks of Meta-World v3 ("metaworld:pick-place-v3"), the goal observed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from dtql_robot.env_record import recorded_kwargs
from dtql_robot.envs.families import metaworld_stages
from dtql_robot.envs.global_rng import global_seed
from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.measure import Place
from dtql_robot.envs.rendering.camera import FollowingCamera
from dtql_robot.envs.success import as_flag
from dtql_robot.envs.wrapper import UniformEnv, box_action_dim, flat_space
from dtql_robot.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from dtql_robot.envs.make import EnvRequest

HORIZON = 500  # stepping further raises
# From the side of the table.  Meta-World's own corner cameras stand on their heads.
VIEW: dict[str, Any] = {"lookat": (0.0, 0.65, 0.2), "distance": 1.8, "azimuth": 135.0, "elevation": -28.0}
SUFFIX = "-goal-observable"
PLACES = {"object": Place("observation", 4, 7), "goal": Place("observation", 36, 39)}
"""In the observation of every task: the hand, the gripper, the object, a second object, the frame before, the goal."""


def _import() -> Any:
    try:
        import metaworld
    except ModuleNotFoundError as error:
        if error.name != "metaworld":
            raise
        raise InputError(
            "Meta-World environments need the package metaworld: `pip install 'dtql-robot[metaworld]'`."
        ) from error
    return metaworld


def _check_task(task: str, known: list[str]) -> None:
    if task not in known:
        hint = did_you_mean(f"metaworld:{task}", [f"metaworld:{name}" for name in known], n=1)
        raise InputError(f"Meta-World v3 has no task {task!r}. {hint} It has {', '.join(known)}.")


class MetaworldEnv(gymnasium.Env):
    """One Meta-World task whose goal and object positions are drawn from `reset(seed=...)`.

    (Meta-World's own `reset` ignores its seed, and its tasks keep the goal they were made with.)
    """

    def __init__(self, task: str) -> None:
        classes = _import().ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        _check_task(task, [name.removesuffix(SUFFIX) for name in classes])
        self.sim_env: Any = classes[task + SUFFIX](seed=0)
        self.sim_env.seeded_rand_vec = True
        self.sim_env._freeze_rand_vec = False
        self.action_space = self.sim_env.action_space
        # Meta-World's own bounds are tight enough that rounding to float32 can leave them.
        self.observation_space = spaces.Box(-np.inf, np.inf, self.sim_env.observation_space.shape, np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Draw goal and object positions from the seed.  Returns (observation, info)."""
        super().reset(seed=seed)
        if seed is not None:
            self.sim_env.seed(seed)
        with global_seed(None if seed is None else seed % 2**32):
            return self.sim_env.reset()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        """One step; the time limit is a wrapper's.  Returns Gymnasium's five."""
        return self.sim_env.step(np.asarray(action, np.float32))

    def close(self) -> None:
        """Free the simulator."""
        self.sim_env.close()


def make(task: str, request: EnvRequest) -> gymnasium.Env:
    """The Meta-World task of this name."""
    kwargs, limit = recorded_kwargs(request.env_args)
    if kwargs:
        raise InputError(f"{request.spec} takes no arguments, found {sorted(kwargs)}.")
    horizon = request.max_episode_steps or limit or HORIZON
    if horizon > HORIZON:
        raise InputError(f"{request.spec}: an episode has at most {HORIZON} steps, max_episode_steps is {horizon}.")
    env = MetaworldEnv(task)
    model = env.sim_env.model
    facts = EnvInfo(
        spec=request.spec,
        horizon=horizon,
        success_rule="any",
        fps=round(1 / env.sim_env.dt),
        action_dim=box_action_dim(env, request.spec),
        obs_shapes={key: box.shape for key, box in flat_space(env.observation_space, request.spec).items()},
        cameras=tuple(model.camera(i).name for i in range(model.ncam)),
        places=PLACES,
        measure=metaworld_stages.measure(task),
        stages=metaworld_stages.stages(task),
    )
    name = facts.check_camera(request.camera)

    def simulation() -> tuple[Any, Any]:
        return env.sim_env.model, env.sim_env.data

    def frames(_: gymnasium.Env) -> FollowingCamera:
        return FollowingCamera(simulation, request.width, request.height, {"name": name} if name else VIEW)

    def observer(name: str, width: int, height: int) -> FollowingCamera:
        return FollowingCamera(simulation, width, height, {"name": name})

    camera = frames if request.render else None
    stages = metaworld_stages.read_stages if facts.stages else None
    return UniformEnv(TimeLimit(env, horizon), facts, _success, camera, observer=observer, stages=stages)


def _success(env: gymnasium.Env, info: dict[str, Any]) -> bool:
    return as_flag(info["success"], "success", env)


def expert(task: str) -> Callable[[Any], Any]:
    """Meta-World's own scripted policy of a task, as a function of our observation."""
    _import()
    from metaworld.policies import ENV_POLICY_MAP

    _check_task(task, sorted(ENV_POLICY_MAP))
    make_policy: Any = ENV_POLICY_MAP[task]
    policy = make_policy()
    return lambda obs: np.asarray(policy.get_action(np.asarray(obs["observation"], np.float64)), np.float64)
