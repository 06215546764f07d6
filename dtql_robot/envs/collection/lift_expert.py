"""A scripted expert for robosuite's Lift: closed loop, a function of the observation alone.

The action is (dx, dy, dz, three rotations, gripper) in [-1, 1] under the default controller: one unit of translation
moves the target by 5 cm a step, the gripper closes at +1.  Lengths in metres.
"""

from __future__ import annotations

import numpy as np

from dtql_robot.types import Obs, Vector

GAIN = 10.0  # action units per metre; 20 would command the whole error in one step
TURN_GAIN = 1.5  # action units per radian; 2 would command the whole error in one step
HOVER = 0.07
OPEN, CLOSED = -1.0, 1.0


def _yaw_error(quat: Vector) -> float:
    """Turn about the vertical (rad) that squares the gripper with the cube, at most 45 degrees either way.

    quat: (x, y, z, w) of the cube.  The gripper starts square with the world, and a cube looks the same every 90.
    """
    x, y, z, w = quat
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return float((yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def _gripper_yaw(quat: Vector) -> float:
    """Direction (rad) in which the fingers close, in the world.  quat: (x, y, z, w) of the gripper, pointing down."""
    x, y, z, w = quat
    return float(np.arctan2(2 * (y * y + w * w) - 1, 2 * (x * y - w * z)))


def _tilt_error(quat: Vector) -> Vector:
    """Rotation (axis times rad, in the world) that points the gripper straight down.  quat: (x, y, z, w) of it."""
    x, y, z, w = quat
    pointing = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
    return np.cross(pointing, [0.0, 0.0, -1.0])  # its length is the angle's sine, near enough to the angle


def lift(obs: Obs) -> Vector:
    """Square up over the cube and descend, the lower the better the gripper is placed; close; raise."""
    grip = np.asarray(obs["robot0_eef_pos"], float)
    cube = np.asarray(obs["cube_pos"], float)
    fingers = float(np.abs(np.asarray(obs["robot0_gripper_qpos"], float)).sum())
    offset = cube - grip
    aside = float(np.linalg.norm(offset[:2]))
    target_yaw = _yaw_error(np.asarray(obs["cube_quat"], float))
    quat = np.asarray(obs["robot0_eef_quat"], float)
    turn = (target_yaw - _gripper_yaw(quat) + np.pi / 4) % (np.pi / 2) - np.pi / 4
    tilt = _tilt_error(quat)
    held = aside < 0.02 and abs(offset[2]) < 0.015
    gripping = held and fingers < 0.055
    if gripping:
        return _action(np.array([0.0, 0.0, 0.1]), tilt, CLOSED)
    if held:
        return _action(offset, tilt, CLOSED)
    height = min(HOVER, max(0.0, 4 * (aside - 0.012), 0.3 * (abs(turn) - 0.2)))
    above = np.array([0.0, 0.0, height])
    return _action(offset + above, tilt + np.array([0.0, 0.0, turn]), OPEN)


def _action(error: Vector, rotation: Vector, gripper: float) -> Vector:
    move, turn = np.clip(GAIN * error, -1.0, 1.0), np.clip(TURN_GAIN * rotation, -1.0, 1.0)
    return np.array([*move, *turn, gripper])
