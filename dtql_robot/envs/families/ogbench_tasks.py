"""The family "ogbench:": OGBench's robot environments ("ogbench:cube-single-v0").  No data set is downloaded."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dtql_robot.env_record import OGBENCH_KINDS, recorded_kwargs
from dtql_robot.envs.global_rng import global_seed
from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.rendering.camera import FollowingCamera
from dtql_robot.envs.success import as_flag
from dtql_robot.envs.wrapper import UniformEnv, box_action_dim, flat_space
from dtql_robot.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from dtql_robot.envs.make import EnvRequest

CAMERA = "front"
# As OGBench's front camera, but with all in view that the gripper reaches.
ARM_VIEW = {"lookat": (0.42, 0.0, 0.12), "distance": 1.25, "azimuth": 180.0, "elevation": -30.0}


def _ids() -> list[str]:
    """The Gymnasium ids that ogbench registers, but for images and for those without a robot."""
    try:
        import ogbench  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "ogbench":
            raise
        raise InputError(
            "OGBench environments need the package ogbench: `pip install 'dtql-robot[ogbench]'`."
        ) from error
    ours = (i for i, s in gymnasium.registry.items() if str(s.entry_point).startswith("ogbench."))
    return sorted(i for i in ours if not i.startswith(("visual-", "powderworld-")))


def environment_id(task: str, known: list[str]) -> str:
    """The environment of a task or of a data set ("cube-single-play-v0" was recorded in "cube-single-v0")."""
    bare = "-".join(word for word in task.split("-") if word not in OGBENCH_KINDS)
    for name in (task, bare):
        if name in known:
            return name
    hint = did_you_mean(f"ogbench:{bare}", [f"ogbench:{name}" for name in known])
    examples = "cube-single-v0, scene-v0, puzzle-3x3-v0, antmaze-medium-v0"
    raise InputError(f"OGBench has no environment {task!r}. {hint} It has {examples} and others.")


def _keep_action_space(sim: Any) -> None:
    """Give the simulation one action space for good.

    OGBench takes random steps to make a goal's observation, and its manipulation environments make a new action
    space with a new random generator at each access: their goals could not be seeded.
    """
    kind = type(sim)
    if isinstance(getattr(kind, "action_space", None), property):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*precision lowered by casting")  # of its bounds, which are -1 and 1
            sim.__class__ = type(kind.__name__, (kind,), {"action_space": sim.action_space})


class OGBenchEnv(gymnasium.Wrapper):
    """Observation and, where the goal varies, "goal" beside it; all that is random comes from the seed."""

    def __init__(self, env: gymnasium.Env, *, goal: bool) -> None:
        super().__init__(env)
        _keep_action_space(env.unwrapped)
        box = env.observation_space
        self._has_goal = goal
        self._goal: Any = None
        self.observation_space = spaces.Dict({"observation": box, "goal": box} if goal else {"observation": box})

    def _dict(self, obs: Any) -> dict[str, Any]:
        return {"observation": obs, "goal": self._goal} if self._has_goal else {"observation": obs}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Begin an episode that depends on the seed alone."""
        if seed is not None:
            self.env.unwrapped.action_space.seed(seed)
        with global_seed(None if seed is None else seed % 2**32):
            obs, info = self.env.reset(seed=seed, options=options)
        self._goal = np.asarray(info["goal"]) if self._has_goal else None
        return self._dict(obs), {}

    def step(self, action: Any) -> tuple[dict, Any, bool, bool, dict]:
        """One step, observed as `reset` observes.  Returns Gymnasium's five."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return (
            self._dict(obs),
            reward,
            terminated,
            truncated,
            {"success": as_flag(info["success"], "success", self.env)},
        )


def make(task: str, request: EnvRequest) -> gymnasium.Env:
    """The OGBench environment of this name."""
    name = environment_id(task, _ids())
    kwargs, limit = recorded_kwargs(request.env_args)
    limit = request.max_episode_steps or limit
    if limit is not None:
        kwargs["max_episode_steps"] = int(limit)
    try:
        inner = gymnasium.make(name, disable_env_checker=True, **kwargs)
    except TypeError as error:
        raise InputError(f"{request.spec} cannot be made with arguments {kwargs}: {error}.") from error
    env = OGBenchEnv(inner, goal="singletask" not in name)
    sim: Any = inner.unwrapped
    env.reset(seed=0)  # the model is built by the first reset
    model = sim.model
    facts = EnvInfo(
        spec=request.spec,
        horizon=inner.spec.max_episode_steps if inner.spec else None,
        success_rule="any",
        fps=round(1 / (sim.control_timestep() if hasattr(sim, "control_timestep") else sim.dt)),
        action_dim=box_action_dim(env, request.spec),
        obs_shapes={key: box.shape for key, box in flat_space(env.observation_space, request.spec).items()},
        cameras=tuple(model.camera(i).name for i in range(model.ncam)),
    )
    chosen = facts.check_camera(request.camera)
    usual = ARM_VIEW if CAMERA in facts.cameras else {}

    def frames(_: gymnasium.Env) -> FollowingCamera:
        view = {"name": chosen} if chosen else usual
        return FollowingCamera(lambda: (sim.model, sim.data), request.width, request.height, view)

    def observer(name: str, width: int, height: int) -> FollowingCamera:
        return FollowingCamera(lambda: (sim.model, sim.data), width, height, {"name": name})

    return UniformEnv(env, facts, _success, frames if request.render else None, observer=observer)


def _success(env: gymnasium.Env, info: dict[str, Any]) -> bool:
    return bool(info["success"])
