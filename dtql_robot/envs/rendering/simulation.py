"""MuJoCo's model and data behind any environment of this package."""

from __future__ import annotations

from typing import Any

from dtql_robot.errors import InputError


def simulation_of(env: Any) -> tuple[Any, Any]:
    """(model, data) as they are now: some environments replace them at every reset.

    env: what `make_env` returned.  InputError for an environment that is not MuJoCo's.
    """
    import mujoco

    sim = env.unwrapped
    if _is_robosuite(sim):
        return sim.sim_env.sim.model._model, sim.sim_env.sim.data._data
    sim = getattr(sim, "sim_env", sim)  # Meta-World
    for model, data in (("model", "data"), ("_model", "_data")):
        found = getattr(sim, model, None)
        if isinstance(found, mujoco.MjModel):
            return found, getattr(sim, data)
    raise InputError(f"{env.get_wrapper_attr('facts').spec} has no MuJoCo model to show in 3-D.")


def hidden_groups_of(env: Any) -> tuple[int, ...]:
    """Groups of geometry that are not for the eye: robosuite's collision shapes."""
    return (0,) if _is_robosuite(env.unwrapped) else ()


def _is_robosuite(sim: Any) -> bool:
    return hasattr(getattr(sim, "sim_env", None), "sim")
