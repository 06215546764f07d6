"""The layouts in which a data set records its environment.

robomimic   {"env_name", "type", "env_version", "env_kwargs"}
Gymnasium   the JSON of an EnvSpec: {"id", "entry_point", "kwargs", "max_episode_steps", ...}, as Minari keeps it
plain       keyword arguments of the environment and nothing else
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

FAMILIES = ("robosuite", "metaworld", "ogbench", "d4rl")
"""What may stand before the colon of "family:task"; every other name there is that of a Python module."""
ENV_TYPE_ROBOSUITE, ENV_TYPE_GYM = 1, 2
OWN_SPEC = "dtql_robot_env_spec"
"""Key of robomimic's record: the whole spec, where it composes observations."""
EVAL_SPEC = "eval_env_spec"
"""Key of a record: the record of the environment that policies are to be judged in (Minari's `eval_env_spec`)."""
GYM_SPEC = "env_spec"
"""Key of robomimic's record: the Gymnasium record that it was made from, verbatim."""
CAMERA_VIEWS = "camera_views"
"""Key of a record: camera -> where it stands, for cameras that no model names."""
DRAWING = ("camera_names", "camera_heights", "camera_widths", "camera_depths", "camera_segmentations", "use_camera_obs")
"""Arguments that say how the recording was drawn; they do not change the task."""
NOT_OURS = ("render_mode", "width", "height", "id", *DRAWING)
BESIDES = ("env_name", "type", "env_version", OWN_SPEC, EVAL_SPEC, GYM_SPEC, CAMERA_VIEWS)
_TYPE_NAMES = {"robosuite": ENV_TYPE_ROBOSUITE, "gym": ENV_TYPE_GYM, "gymnasium": ENV_TYPE_GYM}


def env_kwargs(env_args: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments in a record of any layout."""
    if "env_kwargs" in env_args:
        return dict(env_args["env_kwargs"] or {})
    if _is_gymnasiums(env_args):
        return dict(env_args.get("kwargs") or {})
    return {k: v for k, v in env_args.items() if k not in BESIDES}


def _is_gymnasiums(env_args: Mapping[str, Any]) -> bool:
    return "entry_point" in env_args or {"id", "kwargs"} <= env_args.keys()


def recorded_kwargs(env_args: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """(keyword arguments that make the environment, its time limit or None) from a record of any layout."""
    kwargs = env_kwargs(env_args)
    limit = kwargs.pop("max_episode_steps", None) or env_args.get("max_episode_steps")
    return {k: v for k, v in kwargs.items() if k not in NOT_OURS}, None if limit is None else int(limit)


def with_time_limit(env_args: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The record with another time limit, in the place where its layout has it."""
    record = dict(env_args)
    if "env_kwargs" in record or {"env_name", "type"} & record.keys():
        record["env_kwargs"] = {**env_kwargs(env_args), "max_episode_steps": steps}
    else:
        record["max_episode_steps"] = steps
    return record


def env_spec_of(env_args: Mapping[str, Any]) -> str | None:
    """The environment in this package's notation ("robosuite:Lift", "FetchPush-v4"); None where none is named."""
    if isinstance(env_args.get(OWN_SPEC), str):
        return env_args[OWN_SPEC]
    name = env_args.get("env_name") or env_args.get("id")
    if not isinstance(name, str) or not name:
        return None
    kind = ENV_TYPE_GYM if _is_gymnasiums(env_args) else _env_type(env_args)
    if kind == ENV_TYPE_ROBOSUITE:
        return name if name.startswith("robosuite:") else f"robosuite:{name}"
    return name if kind == ENV_TYPE_GYM else None


def _env_type(env_args: Mapping[str, Any]) -> int | None:
    """robomimic's number for the kind of environment, which some writers give as text ("robosuite", "1")."""
    kind = env_args.get("type")
    if isinstance(kind, str):
        text = kind.strip().lower().removeprefix("envtype.").removesuffix("_type")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else _TYPE_NAMES.get(text)
    if isinstance(kind, (int, float)) and not isinstance(kind, bool):
        return int(kind)
    if kind is None and {"robots", "controller_configs"} & env_kwargs(env_args).keys():
        return ENV_TYPE_ROBOSUITE
    if kind is None and re.search(r"-v\d+$", str(env_args.get("env_name"))):
        return ENV_TYPE_GYM
    return None


def record_as(spec: str, env_args: Mapping[str, Any]) -> dict[str, Any]:
    """robomimic's record of the environment `spec`, with all that `env_args` says: version, arguments, time limit.

    A record of Gymnasium's goes along verbatim under "env_spec", from which a Minari dataset is written again.
    """
    if {"env_name", "type"} <= env_args.keys() and env_spec_of(env_args) == spec:
        return dict(env_args)
    base = spec.partition("+")[0]
    robosuite = base.startswith("robosuite:")
    kwargs = env_kwargs(env_args)
    if _is_gymnasiums(env_args) and env_args.get("max_episode_steps"):
        kwargs["max_episode_steps"] = env_args["max_episode_steps"]
    kept = {k: env_args[k] for k in ("env_version", CAMERA_VIEWS, EVAL_SPEC, GYM_SPEC) if k in env_args}
    return {
        "env_name": base.removeprefix("robosuite:"),
        "type": ENV_TYPE_ROBOSUITE if robosuite else ENV_TYPE_GYM,
        "env_kwargs": kwargs,
        **kept,
        **({GYM_SPEC: dict(env_args)} if "entry_point" in env_args else {}),
        **({OWN_SPEC: spec} if base != spec else {}),
    }
