"""Scripted experts: closed loop, a function of the observation alone.  Here those of the Fetch tasks.

The robot's action is (dx, dy, dz, gripper) in [-1, 1]; one unit moves the gripper's target by 5 cm.  Entries of
"observation" used: [0:3] gripper position, [3:6] object position, [9:11] opening of the two fingers (m).
FetchReach has no object.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dtql_robot.envs.robosuite_expert import lift
from dtql_robot.errors import InputError
from dtql_robot.types import Obs

Vector = NDArray[np.float64]
Expert = Callable[[Obs], Vector]

GAIN = 12.0  # action units per metre of position error; 20 would cancel the error in one ideal step
CUBE = 0.05  # side of the object (m)
CIRCLE = 0.08  # distance at which the gripper goes round it (m)


def _move(error: Vector, gripper: float, gain: float = GAIN) -> Vector:
    """Proportional control toward a target `error` metres away, with the gripper opening (+1) or closing (-1)."""
    return np.append(np.clip(gain * error, -1.0, 1.0), gripper)


def reach(obs: Obs) -> Vector:
    """FetchReach: straight to the goal."""
    return _move(np.asarray(obs["desired_goal"] - obs["achieved_goal"], float), 0.0)


def pick_and_place(obs: Obs) -> Vector:
    """FetchPickAndPlace: hover, descend with open fingers, close on the object, carry it to the goal and hold."""
    state = np.asarray(obs["observation"], float)
    grip, cube, fingers = state[0:3], state[3:6], state[9:11]
    goal = np.asarray(obs["desired_goal"], float)
    offset = cube - grip
    aside = float(np.linalg.norm(offset[:2]))
    closed_on_cube = fingers.sum() < CUBE + 0.004
    between_fingers = aside < 0.02 and abs(offset[2]) < (0.025 if closed_on_cube else 0.012)
    if between_fingers and closed_on_cube:
        return _move(goal - cube, -1.0)
    if between_fingers:
        return _move(offset, -1.0, gain=4.0)
    hover = np.array([0.0, 0.0, 0.06 if aside > 0.015 else 0.0])
    return _move(offset + hover, 1.0)


def push(obs: Obs) -> Vector:
    """FetchPush: go round the cube at a distance to the side away from the goal, then push it to the goal.

    The command changes smoothly with the state: the gripper circles the cube as long as it is not behind it, pushes as
    far as it is, and moves sidewise to stay on the line to the goal; a cube that drifts off the line is circled again.
    """
    state = np.asarray(obs["observation"], float)
    grip, cube = state[0:3], state[3:6]
    to_goal = np.asarray(obs["desired_goal"], float)[:2] - cube[:2]
    distance = max(float(np.linalg.norm(to_goal)), 1e-6)
    along = to_goal / distance
    across = np.array([-along[1], along[0]])
    rel = grip[:2] - cube[:2]
    radius = max(float(np.linalg.norm(rel)), 1e-6)
    outward = rel / radius
    cos_angle, sin_angle = -float(outward @ along), float(outward @ across)  # 1, 0 right behind the cube
    tangent = np.array([-outward[1], outward[0]]) * (1.0 if sin_angle > 0 else -1.0)  # the short way round
    circle = tangent * min(0.06, radius * math.acos(np.clip(cos_angle, -1.0, 1.0))) + outward * (CIRCLE - radius)
    forward = along * min(distance, 0.08) - across * float(rel @ across)
    behind = np.clip((cos_angle - 0.85) / 0.1, 0.0, 1.0)
    arriving = np.clip((distance - 0.01) / 0.02, 0.0, 1.0)
    step = arriving * (behind * forward + (1.0 - behind) * circle)
    return _move(np.append(step, cube[2] - grip[2]), 0.0)


EXPERTS: dict[str, Expert] = {
    "FetchReach-v4": reach,
    "FetchPush-v4": push,
    "FetchPickAndPlace-v4": pick_and_place,
    "robosuite:Lift": lift,
}


def expert(task: str) -> Expert:
    """The scripted expert of a task; InputError where there is none."""
    base = task.partition("+")[0]  # observations that are composed for the data set are no matter to the expert
    if base in EXPERTS:
        return EXPERTS[base]
    if base.startswith("metaworld:"):
        from dtql_robot.envs import metaworld_tasks

        return metaworld_tasks.expert(base.removeprefix("metaworld:"))
    reason = "a sliding puck cannot be corrected after release" if base.startswith("FetchSlide") else "none is written"
    choice = f"{', '.join(EXPERTS)} or a Meta-World task such as metaworld:pick-place-v3"
    raise InputError(f"There is no scripted expert for {task!r} ({reason}); choose one of {choice}.")
