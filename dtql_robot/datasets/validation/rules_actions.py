"""Rules of `validate` about actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.validation.findings import Finding, Use, error, warning
from dtql_robot.types import Array, Demonstrations

_TOLERANCE = 1e-6
_NEAR = 0.15  # metres: a commanded absolute position stays this close to the hand (median)
_POSE_KEYS = ("robot0_eef_pos", "ee_pos", "eef_pos")
_POSE_CONTROLLERS = ("OSC_POSE", "OSC_POSITION", "IK_POSE")


def action_range(demos: Demonstrations) -> tuple[Array, Array]:
    """Lowest and highest action of all episodes, (A,) each."""
    low = np.min([e.actions.min(axis=0) for e in demos.episodes], axis=0)
    high = np.max([e.actions.max(axis=0) for e in demos.episodes], axis=0)
    return low, high


def first_place(demos: Demonstrations, dim: int) -> str:
    """The first step whose action leaves [-1, 1] in dimension `dim`: "demo_3, step 17"."""
    for episode in demos.episodes:
        steps = np.flatnonzero(np.abs(episode.actions[:, dim]) > 1 + _TOLERANCE)
        if len(steps):
            return f"{episode.name}, step {steps[0]}"
    return demos.source


def outside(reading: Reading, use: Use) -> list[Finding]:
    """Actions outside [-1, 1]: simulators clip them, and without rescaling no policy of this package reaches them."""
    demos = reading.demos
    low, high = action_range(demos)
    dims = [int(i) for i in np.flatnonzero((low < -1 - _TOLERANCE) | (high > 1 + _TOLERANCE))]
    metres = says_absolute(demos.env_args) and use.action_norm != "none"  # `absolute` speaks of those
    if not dims or metres:
        return []
    spans = ", ".join(f"dim {i} {low[i]:.3g} to {high[i]:.3g}" for i in dims[:4]) + (", ..." if len(dims) > 4 else "")
    problem = f"actions leave [-1, 1]: {spans}."
    place = f"{first_place(demos, dims[0])} in {demos.source}"
    if use.action_norm == "none":
        remedy = "Use --action-norm range."
        return [error("actions-outside", place, problem, remedy)]
    remedy = (
        "Nothing needs to be done: the recorded range is rescaled, and the environment treats such an action "
        "as it did in the recording (robosuite, Fetch and Adroit clip it to [-1, 1])."
    )
    return [warning("actions-outside", place, problem, remedy)]


def controller(env_args: Mapping[str, Any]) -> dict[str, Any]:
    """The arm controller's record in robomimic's `env_args`, {} where there is none."""
    config = (env_args.get("env_kwargs") or {}).get("controller_configs")
    config = config[0] if isinstance(config, list) and config else config
    if not isinstance(config, dict):
        return {}
    parts = config.get("body_parts")
    if isinstance(parts, dict) and parts:
        arms = parts.get("arms") if isinstance(parts.get("arms"), dict) else parts
        first = next((p for p in arms.values() if isinstance(p, dict)), {}) if isinstance(arms, dict) else {}
        return dict(first)
    return config


def says_absolute(env_args: Mapping[str, Any]) -> bool | None:
    """Whether the recorded controller takes absolute targets; None where the record does not tell."""
    record = controller(env_args)
    if "input_type" in record:
        return bool(record["input_type"] == "absolute")
    if "control_delta" in record:
        return record["control_delta"] is False
    return None


def follows_pose(demos: Demonstrations) -> bool | None:
    """Whether the first three action entries are where the hand is.

    None where that cannot be told: the data contains no hand position, the controller takes joint angles, or absolute
    poses in the frame of the robot's base, which observations are not in.
    """
    record = controller(demos.env_args)
    key = next((k for k in _POSE_KEYS if demos.obs_shapes.get(k) == (3,)), None)
    if key is None or demos.action_dim < 3 or record.get("type") not in (None, *_POSE_CONTROLLERS):
        return None
    if record.get("input_type") == "absolute" and record.get("input_ref_frame") == "base":
        return None
    distances = np.concatenate([np.linalg.norm(e.actions[:, :3] - e.obs[key], axis=1) for e in demos.episodes])
    spread = np.concatenate([e.actions[:, :3] for e in demos.episodes]).std(axis=0).max()
    return bool(np.median(distances) < _NEAR and spread > 0)


def absolute(reading: Reading, use: Use) -> list[Finding]:
    """Absolute poses where the record says deltas, or the reverse."""
    demos = reading.demos
    recorded, seen = says_absolute(demos.env_args), follows_pose(demos)
    place = f"env_args in {demos.source}"
    if recorded is None:
        return []
    if recorded is False and seen:
        return [
            error(
                "absolute-actions",
                place,
                "the controller takes deltas, yet the first three action entries are "
                "the hand's position: evaluation would send absolute poses as deltas.",
                "Use the file's delta actions, or set control_delta to false in env_args.",
            )
        ]
    if recorded and seen is False:
        return [
            error(
                "delta-actions",
                place,
                "the controller takes absolute poses, yet the actions are nowhere near "
                "the hand's position: evaluation would send deltas as poses.",
                "Set control_delta to true in env_args, or use the file's absolute actions.",
            )
        ]
    if recorded:
        text = "the controller takes absolute targets."
        remedy = "Deltas are easier to learn: `dtql-robot edit IN OUT --actions delta`, if states are recorded."
        return [warning("absolute-actions", place, text, remedy)]
    return []
