"""D4RL's ant mazes in today's MuJoCo: its walls, its ant, its starts, goals and observations.

Gymnasium-Robotics' AntMaze has the same walls, but an ant of five times the strength that acts twice as often, its
origin in the middle of the maze, the y axis the other way round, and other goals.  A policy that learned from D4RL's
files is lost there.  Here the ant is Gymnasium's model with D4RL's numbers: steps of 0.02 s, torques of up to 30 Nm,
its contacts.  An episode starts where the maze has R, at the origin, and ends within half a metre of a goal near G.
"""

from __future__ import annotations

import os
import tempfile
import xml.etree.ElementTree as ElementTree
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dtql_robot.types import Array

CELL = 4.0
"""Metres from the middle of one cell to that of the next."""
REACHED = 0.5
"""Metres from the goal at which it is reached."""
MAZES = {
    "umaze": ("#####", "#R  #", "### #", "#G  #", "#####"),
    "medium": (
        *("########", "#R ##  #", "#  #   #", "##   ###"),
        *("#  #   #", "# #  # #", "#   # G#", "########"),
    ),
    "large": (
        *("############", "#R   #     #", "# ## # # # #", "#      #   #", "# #### ### #"),
        *("#  # #     #", "## # # # ###", "#  #   # G #", "############"),
    ),
}
"""Rows of cells: # is a wall, R the start, G the goal.  x grows along a row, y from row to row."""
_STEP, _TORQUE, _FRAMES = 0.02, 30, 5
_CONTACT = {"solref": ".02 1", "solimp": ".8 .8 .01"}
_WALL = {"type": "box", "contype": "1", "conaffinity": "1", "rgba": "0.7 0.5 0.3 1"}
_HEIGHT = 1.0  # half of a wall's


def cell_centre(maze: str, letter: str) -> Array:
    """Where the cell with this letter is, (x, y) in metres from the start."""

    def place(wanted: str) -> Array:
        return next(np.array([row.index(wanted), i]) for i, row in enumerate(MAZES[maze]) if wanted in row)

    return np.asarray(CELL * (place(letter) - place("R")), np.float64)


def maze_model(maze: str) -> str:
    """The model as XML: Gymnasium's ant with D4RL's numbers, in the maze."""
    import gymnasium.envs.mujoco

    root = ElementTree.parse(os.path.join(os.path.dirname(gymnasium.envs.mujoco.__file__), "assets/ant.xml")).getroot()
    _found(root, "option").set("timestep", str(_STEP))
    for key, value in _CONTACT.items():
        _found(root, "default/geom").set(key, value)
    for motor in _found(root, "actuator"):
        motor.set("gear", str(_TORQUE))
    world = _found(root, "worldbody")
    for i, row in enumerate(MAZES[maze]):
        for j, letter in enumerate(row):
            if letter == "#":
                x, y = CELL * (np.array([j, i]) - 1.0)
                size = f"{CELL / 2} {CELL / 2} {_HEIGHT}"
                ElementTree.SubElement(world, "geom", {"pos": f"{x} {y} {_HEIGHT}", "size": size, **_WALL})
    x, y = cell_centre(maze, "G")  # a site without a place of its own stays at the origin wherever it is put later
    target = {"name": "target", "pos": f"{x} {y} {_HEIGHT}", "size": str(REACHED), "rgba": "1 0 0 0.7"}
    ElementTree.SubElement(world, "site", target)
    return ElementTree.tostring(root, encoding="unicode")


def _found(root: ElementTree.Element, path: str) -> ElementTree.Element:
    element = root.find(path)
    assert element is not None, f"Gymnasium's ant.xml has no {path}"
    return element


class AntMaze(gymnasium.Env):
    """One maze.  Observations (29,): position, 13 joint positions and 14 velocities.  Reward 1 at the goal, else 0."""

    def __init__(self, maze: str) -> None:
        from gymnasium.envs.mujoco.ant_v5 import AntEnv

        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(maze_model(maze))
            file.flush()
            self._ant: Any = AntEnv(
                xml_file=file.name,
                frame_skip=_FRAMES,
                exclude_current_positions_from_observation=False,
                include_cfrc_ext_in_observation=False,
            )
        self._goal_cell = cell_centre(maze, "G")
        self.goal = self._goal_cell
        self.action_space = self._ant.action_space
        self.observation_space = spaces.Box(-np.inf, np.inf, (29,), np.float64)

    @property
    def model(self) -> Any:
        """MuJoCo's model."""
        return self._ant.model

    @property
    def data(self) -> Any:
        """MuJoCo's data."""
        return self._ant.data

    @property
    def dt(self) -> float:
        """Seconds a step."""
        return float(self._ant.dt)

    def set_state(self, qpos: Array, qvel: Array) -> None:
        """Put the ant there.  qpos: (15,).  qvel: (14,)."""
        self._ant.set_state(qpos, qvel)

    def set_goal(self, goal: Array) -> None:
        """Another goal, (2,), until the next reset."""
        self.goal = np.asarray(goal, np.float64)
        self.model.site_pos[self.model.site("target").id] = (*self.goal, _HEIGHT)

    def _get_obs(self) -> Array:
        return np.concatenate([self.data.qpos, self.data.qvel])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict]:
        """Begin an episode: the ant near the origin, a new goal up to 1.5 m from the middle of its cell in x and y.

        options: {"start": (x, y)} for the ant near another place, in metres.
        """
        super().reset(seed=seed)
        self._ant.reset(seed=seed)
        draw = self.np_random
        wide, narrow = draw.uniform(0, CELL / 4, 2), draw.uniform(0, CELL / 8, 2)
        self.set_goal(np.maximum(self._goal_cell + wide + narrow, 0))
        qpos = self._ant.init_qpos + draw.uniform(-0.1, 0.1, self.model.nq)
        if options and "start" in options:
            qpos[:2] += options["start"]
        self.set_state(qpos, self._ant.init_qvel + 0.1 * draw.standard_normal(self.model.nv))
        return self._get_obs(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict]:
        """One step of 0.1 s.  The episode ends where the goal is reached, and only there."""
        self._ant.do_simulation(action, self._ant.frame_skip)
        reached = bool(np.linalg.norm(self.data.qpos[:2] - self.goal) <= REACHED)
        return self._get_obs(), float(reached), reached, False, {"success": reached}

    def close(self) -> None:
        """Free the simulator."""
        self._ant.close()
