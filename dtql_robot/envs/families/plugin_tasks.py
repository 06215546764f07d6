"""Environment families that other packages add: "NAME:TASK", where NAME is an entry point of `dtql_robot.envs`.

The entry point is a function `make(task, **kwargs) -> gymnasium.Env`; `render_mode="rgb_array"` is among the keyword
arguments where frames are wanted.  Also environments of a function that the user names: "my_module:make_env".
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.wrappers import TimeLimit

from dtql_robot.env_record import FAMILIES, recorded_kwargs, success_rule
from dtql_robot.envs.families.id_errors import missing_module
from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.rendering.own_render import OwnFrames
from dtql_robot.envs.success import read_success
from dtql_robot.envs.wrapper import UniformEnv, box_action_dim, flat_space
from dtql_robot.errors import InputError, describe
from dtql_robot.system import plugins

if TYPE_CHECKING:
    from dtql_robot.envs.make import EnvRequest

RULES = ("last", "any")


def make(task: str, request: EnvRequest) -> gymnasium.Env:
    """The environment of the family before the colon of `request.spec`."""
    family = request.spec.partition(":")[0]
    function = plugins.load(plugins.ENVS, family, FAMILIES)
    return _wrapped(function, (task,), f"of {plugins.named(plugins.ENVS, family)}", request)


def function_behind(spec: str) -> Callable[..., Any] | None:
    """The function that "my_module:make_env" names; None for a Gymnasium id, with or without a module.

    InputError where there is no such module.  It is imported: call this for what the user named only.
    """
    module, colon, name = spec.partition(":")
    if not colon or not name.isidentifier():
        return None
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise missing_module(spec, error) from error
    except Exception as error:  # of the user's module, whatever it raises
        raise InputError(f"{spec}: the module cannot be imported: {describe(error)}.") from error
    return found if callable(found) and name not in gymnasium.registry else None


def make_by(function: Callable[..., Any], request: EnvRequest) -> gymnasium.Env:
    """The environment that the user's own function gives."""
    return _wrapped(function, (), "by that function", request)


def _wrapped(function: Callable[..., Any], arguments: tuple[str, ...], by: str, request: EnvRequest) -> gymnasium.Env:
    """As every other environment: flat observations, clipped actions, success, a time limit."""
    spec = request.spec
    kwargs, limit = recorded_kwargs(request.env_args)
    limit = request.max_episode_steps or limit
    if request.render:
        kwargs["render_mode"] = "rgb_array"
    try:
        env = function(*arguments, **kwargs)
    except InputError:
        raise
    except Exception as error:  # of the user's function, whatever it raises
        shown = f" with arguments {kwargs}" if kwargs else ""
        raise InputError(f"{spec}: the environment cannot be made {by}{shown}: {describe(error)}.") from error
    if not isinstance(env, gymnasium.Env):
        raise InputError(f"{spec}: the environment made {by} is {type(env).__name__}; expected a gymnasium.Env.")
    if limit is not None:
        env = TimeLimit(env, int(limit))
    facts = _facts(env, spec)
    facts.check_camera(request.camera)
    camera = (lambda made: OwnFrames(made, spec, request.width, request.height)) if request.render else None
    return UniformEnv(env, facts, read_success, camera)


def _facts(env: gymnasium.Env, spec: str) -> EnvInfo:
    rule = env.metadata.get("success_rule", success_rule(spec.partition(":")[2]))
    if rule not in RULES:
        raise InputError(f"{spec}: its metadata has success_rule {rule!r}; expected 'last' or 'any'.")
    return EnvInfo(
        spec=spec,
        horizon=_limit_of(env),
        success_rule=rule,
        fps=int(env.metadata.get("render_fps") or 25),
        action_dim=box_action_dim(env, spec),
        obs_shapes={key: box.shape for key, box in flat_space(env.observation_space, spec).items()},
    )


def _limit_of(env: gymnasium.Env) -> int | None:
    """Steps after which the outermost time limit around an environment ends an episode."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, TimeLimit):
            return int(env._max_episode_steps)
        env = env.env
    return env.spec.max_episode_steps if env.spec is not None else None
