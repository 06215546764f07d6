"""Success as environments report it in `info`."""

from __future__ import annotations

from typing import Any

import gymnasium

from dtql_robot.errors import InputError


def as_flag(value: Any, name: str, env: gymnasium.Env) -> bool:
    """An entry of `info` that says yes or no: True, False, 1, 0, or NumPy's scalars of these.

    InputError naming the environment for anything else.  (bool(nan) and bool("False") are true, and a success that is
    NaN or None is none.)
    """
    if value is True or value is False:
        return value
    scalar = isinstance(value, (int, float)) or (getattr(value, "shape", None) == () and value.dtype.kind in "buif")
    if not scalar or (value != 0 and value != 1):
        spec = getattr(env.unwrapped, "spec", None)
        where = spec.id if spec is not None else type(env.unwrapped).__name__
        found = f"an array of shape {value.shape}" if getattr(value, "shape", ()) else repr(value)[:60]
        raise InputError(
            f"{where} returned info[{name!r}] = {found}; expected True or False after every step. Fix the "
            "environment, or wrap it so that it reports success."
        )
    return bool(value)


def read_success(env: gymnasium.Env, info: dict[str, Any]) -> bool | None:
    """The environment's own success signal after a step; None if it gives none.

    Fetch: info["is_success"].  Adroit, PointMaze and others: info["success"].
    FrankaKitchen: every task of the goal is among info["episode_task_completions"].
    """
    if "episode_task_completions" in info:
        return set(env.unwrapped.goal) <= set(info["episode_task_completions"])  # type: ignore[attr-defined]
    for key in ("success", "is_success"):
        if key in info:
            return as_flag(info[key], key, env)
    return None


def read_subtasks(env: gymnasium.Env, info: dict[str, Any]) -> dict[str, bool]:
    """FrankaKitchen: each task of the goal, and whether it has been completed in this episode."""
    done = set(info["episode_task_completions"])
    return {task: task in done for task in sorted(env.unwrapped.goal)}  # type: ignore[attr-defined]
