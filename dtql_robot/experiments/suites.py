"""Benchmark suites as data: which tasks with which demonstrations, and which methods on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dtql_robot.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Recording:
    """Demonstrations to collect: arguments of `collect`."""

    task: str
    episodes: int = 200
    noise: float = 0.3
    record: Literal["executed", "intended"] = "executed"
    lapses: float = 0.0
    successes_only: bool = False


@dataclass(frozen=True)
class BenchTask:
    """One task of a suite.

    data       how to record the demonstrations; None where they come from a file that the user has
    source     what that file is and where it is published
    options    further options of `train` that belong to the data, not to the recipe
    """

    name: str
    data: Recording | None = None
    source: str = ""
    options: tuple[str, ...] = ()


PICK = BenchTask("pick-and-place", Recording("FetchPickAndPlace-v4"))
PUSH = BenchTask("push", Recording("FetchPush-v4", record="intended"))
MIXED = BenchTask("pick-and-place-mixed", Recording("FetchPickAndPlace-v4", episodes=300, lapses=0.7))
REACH = BenchTask("reach", Recording("FetchReach-v4", episodes=20))
DOOR = BenchTask(
    "door-human",
    source="D4RL door-human-v0 (door-v0_demos_clipped.hdf5)",
    options=("--env", "AdroitHandDoor-v1"),
)
LIFT = BenchTask(
    "lift",
    source="200 scripted Lift demonstrations, github asimfish/robocore data/robomimic/lift/ph/low_dim.hdf5",
    options=("--success-reward", "1", "--env", "robosuite:Lift+state=robot0_proprio-state@1.5.2,object-state"),
)
METAWORLD = tuple(
    BenchTask(f"metaworld-{name}", Recording(f"metaworld:{name}-v3", episodes=100, successes_only=True))
    for name in ("pick-place", "peg-insert-side", "door-open", "drawer-close", "button-press-topdown")
)

SUITES: dict[str, tuple[BenchTask, ...]] = {
    "smoke": (REACH,),
    "fetch": (PICK, PUSH, MIXED),
    "metaworld": METAWORLD,
    "manipulation": (PICK, PUSH, MIXED, DOOR, LIFT, *METAWORLD),
}

METHODS: dict[str, str | None] = {
    "dtql": None,
    "no-q": "no-q",
    "mse-bc-successes": "mse-bc-successes",
    "mse-bc": "mse-bc",
    "diffusion-bc": "diffusion-bc",
    "tr-only": "tr-only",
    "kl": "kl",
    "iql": "iql",
}
"""Method -> preset of `train`; None is the default recipe."""


@dataclass(frozen=True)
class Size:
    """How much of a suite is run where nothing else is asked for."""

    methods: tuple[str, ...] = tuple(METHODS)
    seeds: tuple[int, ...] = (0, 1, 2)
    episodes: int = 100
    options: tuple[str, ...] = ()


SIZES = {"smoke": Size(("dtql", "mse-bc"), (0,), 20, ("--steps=600",))}
"""Suite -> its size, where that is not the full one.  smoke: does everything work here?  In two minutes."""


def suite(name: str) -> tuple[BenchTask, ...]:
    """The tasks of a suite.  InputError for an unknown name."""
    if name not in SUITES:
        hint = did_you_mean(name, SUITES, n=1)
        raise InputError(f"There is no suite {name!r}. {hint} Choose one of {', '.join(SUITES)}.")
    return SUITES[name]
