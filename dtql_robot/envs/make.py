"""`make_env(spec)`: from a name to an environment, one file per simulator family behind it.

A spec is a Gymnasium id ("FetchPush-v4", "AdroitHandDoor-v1", "my_package:MyEnv-v0"), "family:task", or a function that
makes the environment ("my_module:make_env").  To add a family, write `families/NAME_tasks.py` with
`make(task, request) -> gymnasium.Env` and list NAME in `env_record.FAMILIES`, or declare it in a package of your own
(docs/extending.md).  After the name may follow observations to compose, see dtql_robot.envs.compose.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dtql_robot.env_record import FAMILIES, MAX_STEPS
from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.rendering.gl import prepare_gl, require_gl
from dtql_robot.errors import InputError
from dtql_robot.system.plugins import ENVS, is_installed
from dtql_robot.types import ImageObs

if TYPE_CHECKING:
    import gymnasium

MODULES = {name: f"dtql_robot.envs.families.{name}_tasks" for name in FAMILIES}
ALL = {**MODULES, "plugin": "dtql_robot.envs.families.plugin_tasks"}


@dataclass(frozen=True)
class EnvRequest:
    """What the caller of `make_env` asked for, handed to the family as it is."""

    spec: str
    render: bool = False
    width: int = 256
    height: int = 256
    max_episode_steps: int | None = None
    env_args: dict[str, Any] = field(default_factory=dict)
    camera: str | None = None


def split_spec(spec: str) -> tuple[str, str]:
    """("robosuite", "Lift") for "robosuite:Lift", ("gymnasium", spec) for everything else.

    The family is "plugin" where another installed package adds it.
    """
    family, colon, task = spec.partition(":")
    if colon and is_installed(ENVS, family, MODULES):
        return "plugin", task
    if colon and family in MODULES:
        return family, task
    return "gymnasium", spec


def as_spec(env: str | Callable[..., Any]) -> str:
    """The spec of an environment that is given by name or by the function that makes it.

    Worker processes import the function from its module: InputError where they could not.
    """
    if isinstance(env, str):
        return env
    module, name = getattr(env, "__module__", None), getattr(env, "__qualname__", "")
    if not callable(env) or not module or module == "__main__" or not name.isidentifier():
        raise InputError(
            f"The environment is {env!r}; expected a name, or a function at the top of a module that "
            "worker processes can import (not one in a notebook or in the running script)."
        )
    return f"{module}:{name}"


def make_env(
    spec: str | Callable[..., gymnasium.Env],
    *,
    render: bool = False,
    width: int = 256,
    height: int = 256,
    max_episode_steps: int | None = None,
    env_args: dict[str, Any] | None = None,
    camera: str | None = None,
    images: ImageObs | None = None,
) -> gymnasium.Env:
    """Make an environment with flat float32 observations, clipped actions and `info["success"]`.

    spec: Gymnasium id, "family:task", or a function that makes a gymnasium.Env ("module:function").
    render: `env.render()` returns (height, width, 3) uint8 frames.
    camera: a camera of the simulation by its name; None for a view that shows the task.
    images: image observations beside the others, (height, width, 3) uint8, from cameras of the simulation.
    max_episode_steps: overrides the environment's own time limit.  env_args: keyword arguments of the environment, or
    a data set's record of it (robomimic `env_args`, Minari `env_spec`), whose keyword arguments are used.
    `env.unwrapped` is the simulator's own object; `env.get_wrapper_attr("facts")` is the EnvInfo.
    Raises InputError for an unknown spec, a missing package, or actions that are not continuous.
    """
    spec = as_spec(spec)
    if not spec:
        raise InputError(f"Expected an environment id such as 'FetchPickAndPlace-v4', found {spec!r}.")
    if max_episode_steps is not None and not 1 <= max_episode_steps <= MAX_STEPS:
        wanted = "at least 1" if max_episode_steps < 1 else f"at most {MAX_STEPS}"
        raise InputError(f"{spec}: max_episode_steps must be {wanted}, found {max_episode_steps}.")
    from dtql_robot.envs.compose import ComposedObs, split_recipes
    from dtql_robot.envs.rendering.image_obs import ImageObsEnv

    base, recipes = split_recipes(spec)
    family, task = split_spec(base)
    if render or images:
        require_gl()
    else:
        prepare_gl()
    request = EnvRequest(base, render, width, height, max_episode_steps, dict(env_args or {}), camera)
    module = importlib.import_module(ALL.get(family, "dtql_robot.envs.families.gymnasium_ids"))
    env = module.make(task, request)
    if recipes:
        env = ComposedObs(env, spec, recipes, getattr(module, "expand", lambda part: (part,)))
    return ImageObsEnv(env, images, request.env_args) if images else env


def env_info(spec: str, *, max_episode_steps: int | None = None, env_args: dict[str, Any] | None = None) -> EnvInfo:
    """The environment's horizon, success rule, fps and shapes.  Builds it once, without drawing."""
    env = make_env(spec, max_episode_steps=max_episode_steps, env_args=env_args)
    try:
        return env.get_wrapper_attr("facts")
    finally:
        env.close()
