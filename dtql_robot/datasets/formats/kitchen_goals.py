"""Success in FrankaKitchen recordings, from their nested goals.

A Minari recording of FrankaKitchen holds achieved_goal/<task> and desired_goal/<task>.  The environment calls a task
done where the two are closer than 0.3 (Euclidean), at any step so far; the episode succeeds when all are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dtql_robot.types import Array

DONE_WITHIN = 0.3
_ACHIEVED, _DESIRED = "achieved_goal/", "desired_goal/"


def is_kitchen(env_spec: str | None) -> bool:
    """Whether a spec names FrankaKitchen, whose success is read from nested goals."""
    return bool(env_spec) and str(env_spec).startswith("FrankaKitchen")


def goal_tasks(keys: Mapping[str, object]) -> list[str]:
    """Tasks with an achieved and a desired goal among the observation keys."""
    tasks = [k[len(_DESIRED) :] for k in keys if k.startswith(_DESIRED)]
    return [task for task in tasks if _ACHIEVED + task in keys]


def success_of_goals(obs: Mapping[str, Array]) -> Array | None:
    """(T,) success after each step from (T + 1, ...) observations; None where they hold no such goals."""
    tasks = goal_tasks(obs)
    if not tasks:
        return None
    done = [_done(obs[_ACHIEVED + task], obs[_DESIRED + task]) for task in tasks]
    return np.asarray(np.all(done, axis=0))


def _done(achieved: Array, desired: Array) -> Array:
    near = np.linalg.norm(achieved[1:] - desired[1:], axis=1) < DONE_WITHIN
    return np.logical_or.accumulate(near)
