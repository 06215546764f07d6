"""The demonstrator of D4RL's ant mazes: the shortest way, on foot.

In umaze and "play" it goes from the start to the episode's goal, which no observation tells.  In "diverse" it starts in
any cell and roams: to a place in another cell, and on to the next, until it happens upon the goal or time is up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dtql_robot.env_record import d4rl_task
from dtql_robot.env_record.d4rl_names import PREFIX
from dtql_robot.envs.collection.ant_gait import walk
from dtql_robot.envs.collection.fetch_expert import Expert
from dtql_robot.envs.collection.maze_path import Cell, cell_at, centre, free_cells, next_place
from dtql_robot.types import Obs, Vector

GIVEN_UP = 30
"""Steps upside down after which an episode is given up: the ant does not come to its feet again."""
ARRIVED, ASIDE = 0.5, 1.5
"""Metres from a place at which a roaming ant turns to the next, and the most from the middle of its cell in x and y."""


def ant_maze(task: str) -> str | None:
    """The maze of "d4rl:antmaze-umaze-v2" and its siblings; None for any other task."""
    found = d4rl_task(task) if task.startswith(PREFIX) else None
    return found.maze if found is not None else None


class MazeGuide:
    """Tells the demonstrators of a maze's episodes where to start and where to go."""

    def __init__(self, task: str) -> None:
        maze = ant_maze(task)
        assert maze is not None, task
        self._maze, self._roams = maze, "-diverse-" in task
        self._upside_down = 0

    def start(self, rng: np.random.Generator) -> dict[str, Any] | None:
        """Options of the environment's reset."""
        return {"start": centre(_any_cell(self._maze, rng))} if self._roams else None

    def expert(self, goal: Vector, rng: np.random.Generator) -> Expert:
        """The demonstrator of one episode.  goal: the episode's, (2,) in metres."""
        self._upside_down = 0
        if self._roams:
            return _Roaming(self._maze, rng)
        return lambda obs: _towards(self._maze, obs, goal)

    def gives_up(self, obs: Obs) -> bool:
        """Whether the ant has lain on its back for too long.  Asked after every step."""
        _, x, y, _ = _state(obs)[3:7]
        self._upside_down = self._upside_down + 1 if x * x + y * y > 0.5 else 0
        return self._upside_down >= GIVEN_UP


class _Roaming:
    def __init__(self, maze: str, rng: np.random.Generator) -> None:
        self._maze, self._rng = maze, rng
        self._target: Vector | None = None

    def __call__(self, obs: Obs) -> Vector:
        place = _state(obs)[:2]
        if self._target is None or np.linalg.norm(place - self._target) < ARRIVED:
            cell = _any_cell(self._maze, self._rng, cell_at(self._maze, place))
            self._target = centre(cell) + self._rng.uniform(-ASIDE, ASIDE, 2)
        return _towards(self._maze, obs, self._target)


def _any_cell(maze: str, rng: np.random.Generator, but: Cell | None = None) -> Cell:
    cells = [cell for cell in free_cells(maze) if cell != but]
    return cells[int(rng.integers(len(cells)))]


def _state(obs: Obs) -> Vector:
    return np.asarray(obs["observation"], float)


def _towards(maze: str, obs: Obs, goal: Vector) -> Vector:
    state = _state(obs)
    x, y = next_place(maze, state[:2], goal) - state[:2]
    return walk(state, float(np.arctan2(y, x)))
