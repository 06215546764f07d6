"""What to tell of a Gymnasium id that cannot be found, or that needs a package."""

from __future__ import annotations

import importlib.util

import gymnasium

from dtql_robot.errors import InputError, did_you_mean


def unknown_id(env_id: str) -> InputError:
    """The error for an id that is not registered, with the registered ids that come closest."""
    if importlib.util.find_spec("gymnasium_robotics") is None:
        return InputError(f"Environment {env_id!r} is not known: `pip install gymnasium-robotics`, or check the id.")
    name = env_id.rpartition("-v")[0] or env_id
    usable = [i for i, env in gymnasium.registry.items() if i != env_id and "MujocoPy" not in str(env.entry_point)]
    same = sorted(i for i in usable if i.rpartition("-v")[0].lower() == name.lower())
    hint = f"Did you mean {' or '.join(same[::-1])}?" if same else ""
    hint = hint or did_you_mean(env_id, usable, n=3, otherwise="One that exists is FetchPickAndPlace-v4.")
    return InputError(f"Environment {env_id!r} is not known to the installed gymnasium. {hint}")


def missing_module(env_id: str, error: ModuleNotFoundError) -> InputError:
    """The error for a module that is not there: the one that the id names, or one that it needs."""
    named = env_id.partition(":")[0] if ":" in env_id else ""
    cause = error.__cause__ or error.__context__
    missing = error.name or (cause.name if isinstance(cause, ModuleNotFoundError) else None) or named
    return InputError(f"{env_id}: package {missing!r} is missing; `pip install {missing}`, or put it on Python's path.")
