"""Demonstrators that fail on purpose, for data of mixed quality.

A lapse follows the expert until something goes wrong.  Each kind visits states that good demonstrations visit too and
does something else there, as tired or unskilled operators do; what is best can then only be told by what follows.
Actions are in [-1, 1]; the last entry is taken for the gripper's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dtql_robot.types import Vector

Lapse = Callable[[int, Vector], Vector]

DRIFT, MEMORY = 0.3, 0.8
"""Stationary deviation of a hesitating hand's commands, and their correlation from one step to the next."""


def hesitate(rng: np.random.Generator, horizon: int) -> Lapse:
    """Stops somewhere in the first half of the episode and drifts about for the rest, the gripper as it was."""
    begin = int(rng.integers(horizon // 2))
    drift, last = np.zeros(0), np.zeros(0)

    def act(step: int, wanted: Vector) -> Vector:
        nonlocal drift, last
        if step <= begin:
            last, drift = wanted, np.zeros(len(wanted) - 1)
            return wanted
        drift = MEMORY * drift + DRIFT * np.sqrt(1 - MEMORY**2) * rng.standard_normal(len(drift))
        return np.append(drift, last[-1])

    return act


def fumble(rng: np.random.Generator, horizon: int) -> Lapse:
    """Never closes the gripper (or opens it where the expert holds it closed): arrives and achieves nothing."""

    def act(step: int, wanted: Vector) -> Vector:
        return np.append(wanted[:-1], max(wanted[-1], 1.0))

    return act


def dither(rng: np.random.Generator, horizon: int) -> Lapse:
    """Goes back and forth: runs of 3 to 6 steps with the expert and against it, the gripper as the expert has it."""
    forward, left = True, 4

    def act(step: int, wanted: Vector) -> Vector:
        nonlocal forward, left
        if left == 0:
            forward, left = not forward, int(rng.integers(3, 7))
        left -= 1
        return wanted if forward else np.append(-wanted[:-1], wanted[-1])

    return act


LAPSES: dict[str, Callable[[np.random.Generator, int], Lapse]] = {
    "hesitate": hesitate,
    "fumble": fumble,
    "dither": dither,
}


def draw_lapse(rng: np.random.Generator, share: float, horizon: int) -> tuple[str, Lapse]:
    """("none", the expert as it is) or, with probability `share`, one of LAPSES, each as likely as the others."""
    if rng.random() >= share:
        return "none", lambda step, wanted: wanted
    kind = str(rng.choice(list(LAPSES)))
    return kind, LAPSES[kind](rng, horizon)
