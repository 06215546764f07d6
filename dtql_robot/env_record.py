"""Reading a data set's record of its environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DRAWING = (
    "camera_names",
    "camera_heights",
    "camera_widths",
    "use_camera_obs",
)  # see envs.rendering.image_obs
DROPPED_KWARGS = ("render_mode", "width", "height", "id", *DRAWING)


def recorded_kwargs(env_args: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """(keyword arguments, time limit) of plain keyword arguments, robomimic `env_args` or a Minari `env_spec`."""
    limit = None
    if "env_kwargs" in env_args:  # robomimic: {"env_name", "type", "env_version", "env_kwargs"}
        kwargs = dict(env_args["env_kwargs"] or {})
    elif "entry_point" in env_args:  # Minari: gymnasium.envs.registration.EnvSpec as JSON
        kwargs, limit = dict(env_args.get("kwargs") or {}), env_args.get("max_episode_steps")
    else:
        kwargs = {k: v for k, v in env_args.items() if k != "camera_views"}
    limit = kwargs.pop("max_episode_steps", limit)
    return {k: v for k, v in kwargs.items() if k not in DROPPED_KWARGS}, limit
