"""A gait that takes the ant of D4RL's mazes in any direction, whatever way it faces; a function of the state alone.

A leg swings and lifts by where it is relative to the direction of travel, so no direction is special, and the ant need
not turn.  Diagonal legs move together, half a period after the other two.  There is no clock: what part of its period
the gait is in is read from the joints, so a learner that sees the state can tell as much.

`benchmarks/makers/search_gait.py` found the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dtql_robot.types import Array, Vector

LEGS = np.pi / 4 + np.pi / 2 * np.arange(4)
"""Direction of each leg from the torso (rad), in the torso's frame."""
TURN = np.array([1.0, -1.0, -1.0, 1.0])
"""Which way an ankle's angle grows: 1 where it folds the leg by a positive angle."""
PAIRS = np.array([1.0, -1.0, 1.0, -1.0])
HIP, ANKLE, MIDDLE = np.deg2rad((30.0, 20.0, 50.0))  # half of each joint's range, and the middle of the ankles'
HIP_MOTORS = np.array([2, 4, 6, 0])
"""Place of each leg's hip among the actions; its ankle is the next."""


@dataclass(frozen=True)
class Gait:
    """Joint angles of a walk, in halves of a joint's range, and how the motors pull towards them.

    stiffness, damping  action per unit of angle that is missing, and per unit a second
    hips                (constant, cosine, sine) of the hips' swing, for a leg across the direction of travel
    ankles              (constant, cosine, sine) of the ankles' fold
    lean                (constant, cosine, sine), what the leg in front folds more and the one behind less
    phase               (6, 2) from the sums of `rhythm` to the phase's cosine and sine
    """

    stiffness: float
    damping: float
    hips: tuple[float, float, float]
    ankles: tuple[float, float, float]
    lean: tuple[float, float, float]
    phase: tuple[tuple[float, float], ...]


GAIT = Gait(
    stiffness=0.265,
    damping=0.068,
    hips=(-1.077, 5.691, -2.027),
    ankles=(-2.258, -4.211, 2.978),
    lean=(-1.055, -7.469, -6.909),
    phase=(
        *((0.0914, -0.5723), (-0.0267, 0.0078), (-0.0896, 0.1576)),
        *((0.0208, 0.0636), (1.1293, -0.0552), (-0.0134, -0.0451)),
    ),
)
"""1.75 m/s, 1.6 under noise of 0.2, with a period of 0.62 s."""


@dataclass(frozen=True)
class Posture:
    """What the gait needs of a state, leg by leg, (4,) each: its angle to the direction of travel; joints, in halves of
    their range; their velocities."""

    across: Vector
    along: Vector
    hips: Vector
    ankles: Vector
    hip_speeds: Vector
    ankle_speeds: Vector


def posture(state: Vector, direction: float) -> Posture:
    """Of the maze's observation, (29,).  direction: of travel (rad), in the world."""
    w, x, y, z = state[3:7]
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    angle = direction - yaw - LEGS
    return Posture(
        across=np.sin(angle),
        along=np.cos(angle),
        hips=state[7:15:2] / HIP,
        ankles=(TURN * state[8:15:2] - MIDDLE) / ANKLE,
        hip_speeds=state[21:29:2] / HIP,
        ankle_speeds=TURN * state[22:29:2] / ANKLE,
    )


def rhythm(at: Posture) -> Vector:
    """(6,) by how much the two pairs of legs differ, from which the phase is read."""
    parts = (
        *(at.ankles, at.ankle_speeds),
        *(at.across * at.hips, at.across * at.hip_speeds),
        *(at.along * at.ankles, at.along * at.ankle_speeds),
    )
    return np.array([PAIRS @ part / len(PAIRS) for part in parts])


def motors(gait: Gait, at: Posture, phase: Vector | None = None) -> Array:
    """Actions (8,) in [-1, 1].  phase: its (cosine, sine); None: as the joints tell."""
    if phase is None:
        phase = rhythm(at) @ np.asarray(gait.phase)
        phase = phase / max(float(np.linalg.norm(phase)), 1e-9)
    beat = np.stack([np.ones(len(PAIRS)), PAIRS * phase[0], PAIRS * phase[1]])
    hips = at.across * (gait.hips @ beat)
    ankles = gait.ankles @ beat + at.along * (gait.lean @ beat)
    found = np.empty(2 * len(PAIRS))
    found[HIP_MOTORS] = gait.stiffness * (hips - at.hips) - gait.damping * at.hip_speeds
    found[HIP_MOTORS + 1] = TURN * (gait.stiffness * (ankles - at.ankles) - gait.damping * at.ankle_speeds)
    return np.clip(found, -1.0, 1.0)


def walk(state: Vector, direction: float) -> Array:
    """Actions (8,) of the gait that was found, for the maze's observation (29,)."""
    return motors(GAIT, posture(np.asarray(state, float), direction))
