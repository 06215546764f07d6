"""What a recording keeps of a simulator besides observations."""

from __future__ import annotations

from typing import Any

import numpy as np

from dtql_robot.envs.families.d4rl_maze import AntMaze
from dtql_robot.types import Array


def simulator_state(sim: Any) -> dict[str, Array]:
    """Positions and velocities of a MuJoCo simulation, and a D4RL maze's goal, as D4RL's files have them.

    Nothing in other simulators.
    """
    data = getattr(sim, "data", None)
    if data is None:
        return {}
    found = {f"infos/{key}": getattr(data, key, None) for key in ("qpos", "qvel")}
    if isinstance(sim, AntMaze):
        found["infos/goal"] = sim.goal
    return {k: v.copy() for k, v in found.items() if isinstance(v, np.ndarray)}
