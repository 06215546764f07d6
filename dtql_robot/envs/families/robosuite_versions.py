"""What changed between the versions of robosuite that demonstrations were recorded with.

Up to 1.4, and so in all of robomimic's published files: a controller configuration names one arm controller, position
deltas are in the world's frame, and the object's observation is ordered otherwise (in Lift one part even has the
other sign).  1.5.2 added the joints' accelerations to the proprioceptive state.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

ARM_CONTROLLERS = {"OSC_POSE", "OSC_POSITION", "IK_POSE", "JOINT_POSITION", "JOINT_VELOCITY", "JOINT_TORQUE"}

# Object observations of robosuite 1.4 where neither the current order nor `_old_rank` gives theirs.
OLD_OBJECT: dict[str, tuple[str, ...]] = {
    "Lift": ("cube_pos", "cube_quat", "-gripper_to_cube_pos"),
    "Stack": (
        *("cubeA_pos", "cubeA_quat", "cubeB_pos", "cubeB_quat"),
        *("gripper_to_cubeA", "gripper_to_cubeB", "cubeA_to_cubeB"),
    ),
    "Door": ("door_pos", "handle_pos", "door_to_eef_pos", "handle_to_eef_pos", "hinge_qpos", "handle_qpos"),
    "TwoArmTransport": (
        *("payload_pos", "payload_quat", "trash_pos", "trash_quat", "lid_handle_pos", "lid_handle_quat"),
        *("target_bin_pos", "trash_bin_pos", "gripper0_to_payload", "gripper0_to_lid_handle"),
        *("gripper1_to_payload", "gripper1_to_trash", "payload_in_target_bin", "trash_in_trash_bin"),
    ),
}
PROPRIO_1_5_2 = (
    *("joint_pos", "joint_pos_cos", "joint_pos_sin", "joint_vel", "joint_acc"),
    *("eef_pos", "eef_quat", "eef_quat_site", "gripper_qpos", "gripper_qvel"),
)
SLOTS = ("pos", "quat", "eef_pos", "eef_quat")


def _old_rank(name: str) -> tuple[str, int] | None:
    """(object, place of this entry within the object) for robosuite 1.4: pose first, then pose in the gripper."""
    relative = re.fullmatch(r"(\w+?)_to_robot\d+_(eef_pos|eef_quat)", name)
    own = re.fullmatch(r"(\w+)_(pos|quat)", name)
    found = relative or own
    return (found[1], SLOTS.index(found[2])) if found else None


def old_object(task: str, names: Sequence[str]) -> tuple[str, ...]:
    """The parts of robosuite 1.4's object observation, from the names that the present version gives."""
    if task in OLD_OBJECT:
        return OLD_OBJECT[task]
    if not any("_to_robot" in name for name in names):
        return tuple(names)
    ranks = {name: _old_rank(name) for name in names}
    objects = list(dict.fromkeys(rank[0] for rank in ranks.values() if rank))
    last = (len(objects), 0)

    def place(name: str) -> tuple[int, int]:
        rank = ranks[name]
        return (objects.index(rank[0]), rank[1]) if rank else last

    return tuple(sorted(names, key=place))


def is_old(env_args: Mapping[str, Any]) -> bool:
    """Whether a data set's record of its environment is from robosuite 1.4 or before.

    Where the record has no version, its controller configuration tells: one arm's controller is the old form.
    """
    version = re.match(r"(\d+)\.(\d+)", str(env_args.get("env_version") or ""))
    if version:
        return (int(version[1]), int(version[2])) < (1, 5)
    config = (env_args.get("env_kwargs") or {}).get("controller_configs")
    first = config[0] if isinstance(config, list) and config else config
    return isinstance(first, dict) and "body_parts" not in first and first.get("type") in ARM_CONTROLLERS


def upgrade_controller(config: Any, robot: str, arms: Sequence[str], old: bool) -> Any:
    """One robot's controller configuration as robosuite 1.5 takes it.

    An old one becomes the arm's (both arms' of a two-armed robot) part of a composite controller.  Deltas stay in the
    world's frame, and `control_delta` becomes `input_type`.
    """
    if not isinstance(config, dict) or config.get("type") not in ARM_CONTROLLERS or "body_parts" in config:
        return config
    from robosuite.controllers.composite.composite_controller_factory import refactor_composite_controller_config

    part = {"interpolation": None, "ramp_ratio": 0.2, **config}
    absolute = part.pop("control_delta", True) is False
    part.setdefault("input_type", "absolute" if absolute else "delta")
    if old:
        part.setdefault("input_ref_frame", "world")
    return refactor_composite_controller_config(part, robot, list(arms))


def expand_version(part: str) -> tuple[str, ...]:
    """ "robot0_proprio-state@1.5.2" as the observations that it was made of; other parts as they are."""
    key, at, version = part.partition("@")
    if not at:
        return (part,)
    found = re.fullmatch(r"(robot\d+_)proprio-state", key)
    if found and version == "1.5.2":
        return tuple(found[1] + name for name in PROPRIO_1_5_2)
    return (part,)
