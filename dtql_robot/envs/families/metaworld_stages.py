"""How far an episode of Meta-World came, as far as its tasks tell."""

from __future__ import annotations

from typing import Any

import gymnasium

from dtql_robot.envs.measure import Measure, Place

NEAR, GRASPED = "near the object", "object grasped"
_FLAGS = {NEAR: "near_object", GRASPED: "grasp_success"}
# Meta-World fills both flags in every task, but in many with a reward, a distance or a constant. In these tasks they
# are flags, and its own scripted policies pass through them on the way to success.
# fmt: off
_BOTH = (
    "basketball-v3", "bin-picking-v3", "hand-insert-v3", "peg-unplug-side-v3", "pick-out-of-hole-v3", "pick-place-v3",
    "pick-place-wall-v3", "shelf-place-v3", "stick-pull-v3", "stick-push-v3", "sweep-into-v3", "sweep-v3",
)
_NEAR_ONLY = (
    "button-press-topdown-v3", "button-press-topdown-wall-v3", "button-press-wall-v3", "coffee-pull-v3",
    "coffee-push-v3", "door-unlock-v3", "drawer-open-v3", "handle-press-side-v3", "handle-press-v3",
    "handle-pull-side-v3", "handle-pull-v3", "peg-insert-side-v3", "push-back-v3", "push-v3", "push-wall-v3",
    "window-close-v3", "window-open-v3",
)
# fmt: on
_X, _Y, _Z, _XY, _XYZ = (0, 1), (1, 2), (2, 3), (0, 2), (0, 3)
_DISTANCES = {
    **dict.fromkeys(("coffee-pull-v3", "coffee-push-v3", "dial-turn-v3", "faucet-close-v3"), (_XYZ, 0.07)),
    **dict.fromkeys(("pick-out-of-hole-v3", "pick-place-v3", "pick-place-wall-v3", "shelf-place-v3"), (_XYZ, 0.07)),
    **dict.fromkeys(("plate-slide-v3", "plate-slide-side-v3", "plate-slide-back-v3"), (_XYZ, 0.07)),
    **dict.fromkeys(("plate-slide-back-side-v3", "peg-unplug-side-v3", "soccer-v3"), (_XYZ, 0.07)),
    **dict.fromkeys(("push-wall-v3", "push-back-v3"), (_XYZ, 0.07)),
    **dict.fromkeys(("bin-picking-v3", "hand-insert-v3", "push-v3", "sweep-v3"), (_XYZ, 0.05)),
    **dict.fromkeys(("door-close-v3", "handle-pull-side-v3"), (_XYZ, 0.08)),
    "drawer-close-v3": (_XYZ, 0.065),
    "drawer-open-v3": (_XYZ, 0.03),
    "sweep-into-v3": (_XY, 0.05),
    **dict.fromkeys(("button-press-v3", "coffee-button-v3"), (_Y, 0.02)),
    "button-press-wall-v3": (_Y, 0.03),
    **dict.fromkeys(("button-press-topdown-v3", "button-press-topdown-wall-v3"), (_Z, 0.024)),
    **dict.fromkeys(("door-lock-v3", "handle-press-v3", "handle-press-side-v3"), (_Z, 0.02)),
    "handle-pull-v3": (_Z, 0.05),
    "door-unlock-v3": (_X, 0.02),
    **dict.fromkeys(("window-open-v3", "window-close-v3"), (_X, 0.05)),
}
"""Task -> (axes along which the object's distance from the goal is success, from and to; its threshold in metres)."""
_OBJECT, _GOAL = 4, 36  # where they begin in the observation


def stages(task: str) -> tuple[str, ...]:
    """What lies between the start and success of a task, in order; nothing where the task does not tell."""
    return (NEAR, GRASPED) if task in _BOTH else (NEAR,) if task in _NEAR_ONLY else ()


def read_stages(_: gymnasium.Env, info: dict[str, Any]) -> dict[str, bool]:
    """Stage -> whether the robot is there after a step."""
    return {name: info[flag] == 1 for name, flag in _FLAGS.items()}


def measure(task: str) -> Measure | None:
    """The distance that a task compares with its threshold, where the observation tells it."""
    if task not in _DISTANCES:
        return None
    (first, end), threshold = _DISTANCES[task]
    places = (Place("observation", at + first, at + end) for at in (_OBJECT, _GOAL))
    return Measure("distance to goal", tuple(places), threshold)
