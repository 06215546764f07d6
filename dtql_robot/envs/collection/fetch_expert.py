"""Scripted experts: closed loop, a function of the observation alone.  Here those of the Fetch tasks.

The robot's action is (dx, dy, dz, gripper) in [-1, 1]; one unit moves the gripper's target by 5 cm.  Entries of
"observation" used: [0:3] gripper position, [3:6] object position, [9:11] opening of the two fingers (m).
FetchReach has no object.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dtql_robot.envs.collection.lift_expert import lift
from dtql_robot.errors import InputError
from dtql_robot.types import Obs, Vector

Expert = Callable[[Obs], Vector]

GAIN = 12.0  # action units per metre of position error; 20 would cancel the error in one ideal step
CUBE = 0.05  # side of the object (m)


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
    """FetchPush: go round or over the cube to the side away from the goal, push it along the line to the goal, let go.

    While it pushes, the gripper keeps to that line; a cube that drifts off it is approached anew from behind.
    """
    state = np.asarray(obs["observation"], float)
    grip, cube = state[0:3], state[3:6]
    goal = np.asarray(obs["desired_goal"], float)
    to_goal, rel = goal[:2] - cube[:2], grip[:2] - cube[:2]
    distance = float(np.linalg.norm(to_goal))
    low, high = cube[2], cube[2] + 0.09
    if distance < 0.015:
        return _back_off(rel, low - grip[2])
    along = to_goal / distance
    across = np.array([-along[1], along[0]])
    ahead, side = float(rel @ along), float(rel @ across)
    behind = cube[:2] - along * (CUBE + 0.03)
    if ahead < -0.02 and abs(side) < 0.025 and grip[2] < cube[2] + 0.03:  # behind the cube and on the line: push
        lead = min(distance, 0.06)
        target = cube[:2] + along * (lead - CUBE + 0.01)
        return _move(np.append(target - grip[:2], low - grip[2]), 0.0)
    arrived = float(np.linalg.norm(grip[:2] - behind)) < 0.02
    way_is_clear = ahead < -0.055 or abs(side) > 0.06
    if arrived or way_is_clear:
        return _move(np.append(behind - grip[:2], low - grip[2]), 0.0)
    slow = 0.2 if grip[2] < cube[2] + 0.06 else 1.0  # the cube is in the way: rise first, then cross over it
    return _move(np.append(slow * (behind - grip[:2]), high - grip[2]), 0.0)


def _back_off(rel: Vector, down: float) -> Vector:
    """Away from the cube at the gripper's `rel` (m), 8 cm far, and down beside it once it is clear."""
    far = max(float(np.linalg.norm(rel)), 1e-6)
    away = rel / far * max(0.08 - far, 0.0)
    return _move(np.append(away, down if far > 0.05 else 0.0), 0.0)


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
        from dtql_robot.envs.families import metaworld_tasks

        return metaworld_tasks.expert(base.removeprefix("metaworld:"))
    reason = "a sliding puck cannot be corrected after release" if base.startswith("FetchSlide") else "none is written"
    choice = f"{', '.join(EXPERTS)}, d4rl:antmaze-umaze-v2 or a Meta-World task such as metaworld:pick-place-v3"
    raise InputError(
        f"There is no scripted expert for {task!r} ({reason}); choose one of {choice}, or record a policy with "
        "--policy RUN, or random actions with --level random."
    )
