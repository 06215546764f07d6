"""Robot-arm actions as differences (delta) or as poses to go to (absolute), each from the other.

An operational-space controller of robosuite takes either, as its record says (`control_delta`, or `input_type` since
1.5).  What a difference leads to depends on where the hand is, so the recorded simulator states are needed: each is
put into the simulator, whose own controller then says which pose the action asks for.  Some files bring the absolute
actions along, as `actions_abs`.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from dtql_robot.datasets.formats.robosuite_recording import StateDemo
from dtql_robot.env_record import choose_env, env_kwargs
from dtql_robot.errors import InputError
from dtql_robot.replay.robosuite_states import StateSimulation
from dtql_robot.system.progress import progress_bar
from dtql_robot.types import Array, Demonstrations, Episode

ActionType = Literal["delta", "absolute"]
RECORDED_ABSOLUTE = "actions_abs"
_TOLERANCE = 1e-4
_OSC = ("OSC_POSE", "OSC_POSITION")


@dataclass(frozen=True)
class _Arm:
    """One arm's controller and where its numbers are in an action."""

    controller: Any
    where: slice


def convert_actions(demos: Demonstrations, to: ActionType) -> tuple[Demonstrations, tuple[str, ...]]:
    """The same demonstrations with the other kind of action, recorded as such; sentences on what was not exact.

    InputError, which says why, where the record does not allow it: not of robosuite, no operational-space controller,
    the kind of action is not recorded or is `to` already, or neither states nor absolute actions are there.
    """
    configs = _configs(demos)
    kinds = {kind_of(config) for config in configs}
    if None in kinds or len(kinds) > 1:
        raise _refused(demos, "its record does not say whether actions are deltas or absolute (control_delta)")
    if kinds == {to}:
        raise _refused(demos, f"its actions are {to} already")
    recorded = copy.deepcopy(demos.env_args)
    for config in _configs(replace(demos, env_args=recorded)):
        _mark(config, to)
    if to == "absolute" and all(_has_recorded(e) for e in demos.episodes):
        episodes = tuple(_with_recorded(e) for e in demos.episodes)
        return replace(demos, episodes=episodes, env_args=recorded), (f"absolute actions: {RECORDED_ABSOLUTE}",)
    if not all("states" in e.extras for e in demos.episodes):
        raise _refused(demos, f"it has neither simulator states ('states') nor '{RECORDED_ABSOLUTE}'")
    episodes, clipped = _simulated(demos, to)
    steps = f"{clipped} of {demos.num_transitions} steps ask for more than a delta can, and are cut off there"
    return replace(demos, episodes=episodes, env_args=recorded), (steps,) if clipped else ()


def kind_of(config: dict[str, Any]) -> ActionType | None:
    """What the actions of a recorded arm controller are; None where it is not recorded."""
    if config.get("input_type") in ("delta", "absolute"):
        return config["input_type"]
    recorded = config.get("control_delta")
    return None if not isinstance(recorded, bool) else "delta" if recorded else "absolute"


def _mark(config: dict[str, Any], to: ActionType) -> None:
    """Record the kind of action, in the words that the record uses."""
    if "input_type" in config or "control_delta" not in config:
        config["input_type"] = to
    if "control_delta" in config:
        config["control_delta"] = to == "delta"


def _refused(demos: Demonstrations, why: str) -> InputError:
    return InputError(f"The actions of {demos.source} cannot be converted: {why}.")


def _configs(demos: Demonstrations) -> list[dict[str, Any]]:
    """The recorded controllers of all arms, in the record itself.  InputError where they are not as needed."""
    if demos.env_spec is None or not demos.env_spec.startswith("robosuite:"):
        where = demos.env_spec or "no environment"
        raise _refused(demos, f"only robosuite's records say which controller takes them, and it names {where}")
    configs = env_kwargs(demos.env_args).get("controller_configs")
    found = [arm for config in (configs if isinstance(configs, list) else [configs]) for arm in _arms_of(config)]
    names = sorted({str(arm.get("type")) for arm in found})
    if not found or any(name not in _OSC for name in names):
        raise _refused(
            demos, f"its record has {', '.join(names) or 'no controller'}, and {' or '.join(_OSC)} is needed"
        )
    if any(arm.get("impedance_mode", "fixed") != "fixed" for arm in found):
        raise _refused(demos, "its controllers' stiffness is part of the action (impedance_mode)")
    return found


def _arms_of(config: Any) -> Iterator[dict[str, Any]]:
    """The arms' parts of a record of robosuite 1.5, or the one controller of an older record."""
    if not isinstance(config, dict):
        return
    parts = config.get("body_parts")
    if not isinstance(parts, dict):
        yield config
        return
    nested = parts.get("arms")
    arms: dict[str, Any] = nested if isinstance(nested, dict) else parts
    for name, part in arms.items():
        if isinstance(part, dict) and name in ("left", "right"):
            yield part


def _has_recorded(episode: Episode) -> bool:
    array = episode.extras.get(RECORDED_ABSOLUTE)
    return array is not None and array.shape == episode.actions.shape


def _with_recorded(episode: Episode) -> Episode:
    """The recorded absolute actions in the place of the actions, which are kept as `actions_delta`."""
    extras = {k: v for k, v in episode.extras.items() if k != RECORDED_ABSOLUTE} | {"actions_delta": episode.actions}
    return replace(episode, actions=episode.extras[RECORDED_ABSOLUTE].astype(np.float32), extras=extras)


def _simulated(demos: Demonstrations, to: ActionType) -> tuple[tuple[Episode, ...], int]:
    """(episodes with the converted actions, steps whose difference a delta cannot express)."""
    chosen = choose_env(None, demos.env_spec, demos.env_args, source=demos.source, evaluation=False)
    episodes, clipped = [], 0
    with (
        contextlib.closing(StateSimulation(chosen.require(), chosen.env_args)) as simulation,
        progress_bar(f"actions {to}", total=len(demos), unit="demo") as bar,
    ):
        arms = _arms(simulation, demos)
        for episode in demos.episodes:
            model = episode.attrs.get("model_file")
            simulation.start(StateDemo(episode.name, episode.actions, episode.extras["states"], model))
            actions = episode.actions.astype(np.float64)
            beyond = np.zeros(len(episode), bool)
            for step in range(len(episode)):
                simulation.put(episode.extras["states"][step])
                for robot in simulation.sim_env.robots:
                    robot.composite_controller.update_state()
                for arm in arms:
                    arm.controller.update(force=True)
                    part, over = (_pose if to == "absolute" else _difference)(arm.controller, actions[step, arm.where])
                    actions[step, arm.where] = part
                    beyond[step] |= over
            clipped += int(beyond.sum())
            episodes.append(replace(episode, actions=actions.astype(np.float32)))
            bar.update()
    return tuple(episodes), clipped


def _arms(simulation: StateSimulation, demos: Demonstrations) -> list[_Arm]:
    """The arms of all robots.  InputError for controllers that add the action to something else than the pose."""
    found, first = [], 0
    for robot in simulation.sim_env.robots:
        composite = robot.composite_controller
        if type(composite).__name__ != "CompositeController":
            raise _refused(demos, f"its arms are driven by a {type(composite).__name__}")
        for name in composite.arms:
            start, end = composite._action_split_indexes[name]
            found.append(_Arm(composite.part_controllers[name], slice(first + start, first + end)))
        first += robot.action_dim
    if first != demos.action_dim:
        raise _refused(demos, f"they have {demos.action_dim} entries, and its environment takes {first}")
    return found


def _pose(controller: Any, action: Array) -> tuple[Array, bool]:
    """The pose that a delta asks for, in the controller's frame: position (m) and rotation vector (rad)."""
    from scipy.spatial.transform import Rotation

    controller.set_goal(action)
    pose = [np.asarray(controller.goal_pos)]
    if controller.use_ori:
        pose.append(Rotation.from_matrix(controller.goal_ori).as_rotvec())
    return np.concatenate(pose), False


def _difference(controller: Any, action: Array) -> tuple[Array, bool]:
    """(the delta that leads from the present pose to the one asked for, whether it had to be cut off)."""
    from scipy.spatial.transform import Rotation

    controller.scale_action(np.zeros(len(action)))  # computes the scale
    base = controller.input_ref_frame == "base"
    frame = controller.goal_origin_to_eef_pose() if base else None
    position = controller.ref_pos if frame is None else controller.world_to_origin_frame(controller.ref_pos)
    delta = [action[:3] - position]
    if controller.use_ori:
        now = controller.ref_ori_mat if frame is None else frame[:3, :3]
        turn = Rotation.from_rotvec(action[3:6]) * Rotation.from_matrix(now).inv()
        delta.append(turn.as_rotvec())
    wanted = (np.concatenate(delta) - controller.action_output_transform) / controller.action_scale
    wanted = wanted + controller.action_input_transform
    cut = np.clip(wanted, controller.input_min, controller.input_max)
    return cut, bool(np.abs(cut - wanted).max() > _TOLERANCE)
