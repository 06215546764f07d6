"""Demonstrations in a folder of CSV files: columns x, y, goal_x, goal_y, dx, dy, and success at the last row."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot import Demonstrations
from dtql_robot.errors import InputError

COLUMNS = ("x", "y", "goal_x", "goal_y", "dx", "dy", "success")


def read(path: Path) -> Demonstrations:
    """The entry point of `dtql_robot.datasets`."""
    files = sorted(path.glob("*.csv"))
    if not files:
        raise InputError(f"{path} contains no CSV files; expected a folder with one for each demonstration.")
    return Demonstrations.from_arrays([_episode(file) for file in files], env="point:reach", source=str(path))


def _episode(file: Path) -> dict[str, Any]:
    with open(file, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    try:
        table = np.array([[float(row[column]) for column in COLUMNS] for row in rows], np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} has no number in one of the columns {', '.join(COLUMNS)} ({error}).") from error
    return {
        "name": file.stem,
        "observations": {"position": table[:, 0:2], "goal": table[:, 2:4]},
        "actions": table[:, 4:6],
        "success": table[:, 6] > 0,
    }
