"""Ways through D4RL's mazes: the shortest from cell to cell, and where to head for on it."""

from __future__ import annotations

from collections import deque
from functools import cache

import numpy as np

from dtql_robot.envs.families.d4rl_maze import CELL, MAZES
from dtql_robot.types import Vector

Cell = tuple[int, int]
"""(row, column) of a maze."""
CLEAR = 1.0
"""Metres from the middle of a corridor within which the ant may turn into it."""


@cache
def free_cells(maze: str) -> tuple[Cell, ...]:
    """The cells without a wall, row by row."""
    rows = MAZES[maze]
    return tuple((i, j) for i, row in enumerate(rows) for j, letter in enumerate(row) if letter != "#")


def centre(cell: Cell) -> Vector:
    """The middle of a cell, (2,) in metres: x along a row, y from row to row, from the start's cell (1, 1)."""
    return CELL * (np.array([cell[1], cell[0]], float) - 1.0)


def cell_at(maze: str, place: Vector) -> Cell:
    """The free cell whose middle is nearest to the place, (2,) in metres."""
    return min(free_cells(maze), key=lambda cell: float(np.sum((centre(cell) - place) ** 2)))


def neighbours(maze: str, cell: Cell) -> list[Cell]:
    """The free cells beside this one."""
    i, j = cell
    return [c for c in ((i, j + 1), (i + 1, j), (i, j - 1), (i - 1, j)) if c in free_cells(maze)]


@cache
def steps_to(maze: str, goal: Cell) -> dict[Cell, int]:
    """Every free cell -> how many cells away the goal is, along the shortest way."""
    found, ahead = {goal: 0}, deque([goal])
    while ahead:
        cell = ahead.popleft()
        for other in neighbours(maze, cell):
            if other not in found:
                found[other] = found[cell] + 1
                ahead.append(other)
    return found


def next_place(maze: str, place: Vector, goal: Vector) -> Vector:
    """Where to head for at a place on the way to a goal, all (2,) in metres.

    The middle of the next cell; before a turn, the middle of the corridor that is turned into; in the goal's cell, the
    goal.
    """
    here, there = cell_at(maze, place), cell_at(maze, goal)
    if here == there:
        return goal
    middle = centre(here)
    target = centre(min(neighbours(maze, here), key=steps_to(maze, there).__getitem__))
    ahead = (target - middle) / CELL
    aside = abs(ahead[0] * (place - middle)[1] - ahead[1] * (place - middle)[0])
    return middle if aside > CLEAR else target
