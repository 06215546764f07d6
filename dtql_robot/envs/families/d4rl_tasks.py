"""The family "d4rl:": D4RL's ant mazes and kitchens, with the observations that its files hold.

Its other tasks are Gymnasium's: Hopper-v4 and its siblings, AdroitHandPen-v1 and its siblings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from dtql_robot.env_record import d4rl_task, recorded_kwargs
from dtql_robot.env_record.d4rl_names import EXAMPLES
from dtql_robot.envs.families.d4rl_maze import CELL, MAZES, AntMaze
from dtql_robot.envs.families.gymnasium_ids import VIEWS, build, register_robotics
from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.rendering.camera import Camera
from dtql_robot.envs.success import read_subtasks, read_success
from dtql_robot.envs.wrapper import UniformEnv, box_action_dim, flat_space
from dtql_robot.errors import InputError
from dtql_robot.types import Array

if TYPE_CHECKING:
    from dtql_robot.envs.make import EnvRequest

_NOISE = 0.1  # share of the sensors' noise that D4RL adds; Gymnasium-Robotics' own is 0.01, and 0.0005 for objects
_ROBOT, _OBJECTS = slice(0, 9), slice(18, 39)  # positions among the 59 numbers of FrankaKitchen
_POSITIONS = 30


class KitchenObs(gymnasium.Wrapper):
    """FrankaKitchen observed as by D4RL, (60,): 9 joints, 21 positions of objects, and the goal for all 30.

    The goal is 0 wherever no subtask asks for anything.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_INDICES

        self._goal = np.zeros(_POSITIONS)
        for task, values in env.unwrapped.goal.items():  # type: ignore[attr-defined]
            self._goal[OBS_ELEMENT_INDICES[task]] = values
        self.observation_space = spaces.Box(-np.inf, np.inf, (2 * _POSITIONS,), np.float64)

    def _as_d4rl(self, obs: dict[str, Any]) -> Array:
        whole = obs["observation"]
        return np.concatenate([whole[_ROBOT], whole[_OBJECTS], self._goal])

    def reset(self, **kwargs: Any) -> tuple[Array, dict]:
        """Begin an episode."""
        obs, info = self.env.reset(**kwargs)
        return self._as_d4rl(obs), info

    def step(self, action: Any) -> tuple[Array, Any, bool, bool, dict]:
        """One step."""
        obs, *rest = self.env.step(action)
        return (self._as_d4rl(obs), *rest)  # type: ignore[return-value]


def _kitchen(subtasks: tuple[str, ...], steps: int) -> gymnasium.Env:
    register_robotics()
    arguments = {"tasks_to_complete": list(subtasks), "robot_noise_ratio": _NOISE, "object_noise_ratio": _NOISE}
    return KitchenObs(build("FrankaKitchen-v1", {**arguments, "max_episode_steps": steps}))


def _from_above(maze: str) -> dict[str, Any]:
    rows = MAZES[maze]
    middle = (CELL * (len(rows[0]) / 2 - 1.5), CELL * (len(rows) / 2 - 1.5), 0.0)
    return {"lookat": middle, "distance": 1.3 * CELL * len(rows[0]), "azimuth": 90.0, "elevation": -65.0}


def make(task: str, request: EnvRequest) -> gymnasium.Env:
    """The maze or kitchen of this name."""
    found = d4rl_task(task)
    if found is None:
        raise InputError(
            f"There is no environment {request.spec!r}: d4rl: has the ant mazes and kitchens, such as "
            f"{', '.join(EXAMPLES)}. Other tasks are Hopper-v4, AdroitHandPen-v1 and so on."
        )
    steps = request.max_episode_steps or recorded_kwargs(request.env_args)[1] or found.horizon
    env = TimeLimit(AntMaze(found.maze), steps) if found.maze else _kitchen(found.subtasks, steps)
    view = _from_above(found.maze) if found.maze else VIEWS["FrankaKitchen"]
    sim: Any = env.unwrapped
    facts = EnvInfo(
        spec=request.spec,
        horizon=steps,
        success_rule="any",
        fps=round(1 / sim.dt) if found.maze else int(env.metadata["render_fps"]),
        action_dim=box_action_dim(env, request.spec),
        obs_shapes={key: box.shape for key, box in flat_space(env.observation_space, request.spec).items()},
        cameras=tuple(sim.model.camera(i).name for i in range(sim.model.ncam)),
        subtasks=tuple(sorted(found.subtasks)),
    )
    name = facts.check_camera(request.camera)

    def camera(_: gymnasium.Env) -> Camera:
        return Camera(sim.model, sim.data, request.width, request.height, {"name": name} if name else view)

    def observer(name: str, width: int, height: int) -> Camera:
        return Camera(sim.model, sim.data, width, height, {"name": name})

    subtasks = read_subtasks if found.subtasks else None
    return UniformEnv(env, facts, read_success, camera if request.render else None, subtasks, observer)
