"""Success in D4RL's ant mazes, from the recorded goals.

Their files hold the goal of each step as infos/goal, and an observation begins with the ant's place.  D4RL calls the
goal reached within half a metre.  What follows an episode's last step is not recorded; its reward, which is 1 at the
goal, tells then.
"""

from __future__ import annotations

import numpy as np

from dtql_robot.types import Array

REACHED = 0.5
GOAL = "infos/goal"
NOTE = f"success is read from the recorded goals: within {REACHED:g} m of the goal after the step."
_ANT = (29,)


def is_ant_maze(obs: Array, goals: Array | None, action_dim: int) -> bool:
    """Whether observations (N, ...) and goals (N, ...) are those of an ant maze."""
    return goals is not None and obs.shape[1:] == _ANT and goals.shape == (len(obs), 2) and action_dim == 8


def success_of_goal(obs: Array, goals: Array, rewards: Array, final_obs: Array | None) -> Array:
    """(T,) success after each step of one episode.  obs: (T, 29).  goals: (T, 2).  final_obs: (29,) or None."""
    after = obs[1:, :2] if final_obs is None else np.concatenate([obs[1:, :2], final_obs[None, :2]])
    near = np.linalg.norm(after - goals[: len(after)], axis=1) <= REACHED
    return near if final_obs is not None else np.append(near, rewards[-1] > 0)
