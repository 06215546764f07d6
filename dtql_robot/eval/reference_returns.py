"""Normalized scores: 0 is what a random policy reaches and 100 what an expert does, by published reference values.

D4RL's are those of `REF_MIN_SCORE` and `REF_MAX_SCORE` in its file d4rl/infos.py (github.com/Farama-Foundation/D4RL),
which are the same for all datasets of one environment.  A Minari dataset may bring its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dtql_robot.env_record import recorded_kwargs
from dtql_robot.envs.info import EnvInfo

Measure = Literal["return", "success", "subtasks"]


@dataclass(frozen=True)
class Reference:
    """What counts as 0 and as 100.

    low, high  the random policy's value and the expert's
    source     whose numbers they are
    measure    of what they are values: the mean return, the success rate, or the mean number of completed subtasks
    """

    low: float
    high: float
    source: str
    measure: Measure = "return"

    def score(self, value: float) -> float:
        """The normalized score of a value of `measure`."""
        return 100.0 * (value - self.low) / (self.high - self.low)

    def to_dict(self) -> dict[str, Any]:
        """`normalized_by` in results.json."""
        return {"ref_min_score": self.low, "ref_max_score": self.high, "measure": self.measure, "source": self.source}


@dataclass(frozen=True)
class _Task:
    """One environment of D4RL's.

    ids     the environments whose episodes are judged by it, as a regular expression
    steps   its episodes' time limit; None where the value does not grow with the length
    ignore  arguments of the environment that change nothing in `measure`
    """

    ids: str
    low: float
    high: float
    steps: int | None
    measure: Measure = "return"
    ignore: tuple[str, ...] = ()


_DENSE = ("reward_type",)  # "dense" is D4RL's; anything else is refused, see `_changed`
D4RL = (
    _Task(r"HalfCheetah-v[2-5]", -280.178953, 12135.0, 1000, ignore=("exclude_current_positions_from_observation",)),
    _Task(r"Hopper-v[2-5]", -20.272305, 3234.3, 1000, ignore=("exclude_current_positions_from_observation",)),
    _Task(r"Walker2d-v[2-5]", 1.629008, 4592.3, 1000, ignore=("exclude_current_positions_from_observation",)),
    _Task(r"AdroitHandPen-v\d+", 96.262799, 3076.8331017826877, 100, ignore=_DENSE),
    _Task(r"AdroitHandHammer-v\d+", -274.856578, 12794.134825156867, 200, ignore=_DENSE),
    _Task(r"AdroitHandDoor-v\d+", -56.512833, 2880.5693087298737, 200, ignore=_DENSE),
    _Task(r"AdroitHandRelocate-v\d+", -6.425911, 4233.877797728884, 200, ignore=_DENSE),
    _Task(r"AntMaze_UMaze-v\d+|antmaze-umaze.*", 0.0, 1.0, 700, "success"),
    _Task(r"AntMaze_(Medium|Large)(_Diverse_GR?)?-v\d+|antmaze-(medium|large).*", 0.0, 1.0, 1000, "success"),
    _Task(r"FrankaKitchen-v\d+|kitchen-.*", 0.0, 4.0, 280, "subtasks"),
)
KITCHEN_SUBTASKS = 4


def find_reference(
    facts: EnvInfo,
    env_args: Mapping[str, Any] | None,
    horizon: int,
    recorded: tuple[float, float] | None = None,
) -> tuple[Reference | None, str | None]:
    """(the reference for an evaluation, why there is none although its environment is one of D4RL's).

    env_args: what the environment was made with.  horizon: the episodes' time limit.
    recorded: (lowest, highest) as the dataset brings them for this environment.
    """
    if recorded is not None:
        return Reference(*recorded, source="the dataset"), None
    base = facts.spec.partition("+")[0].rpartition(":")[2]
    task = next((t for t in D4RL if re.fullmatch(t.ids, base)), None)
    if task is None or facts.spec.startswith("ogbench:"):
        return None, None
    if reason := _differs(task, facts, env_args or {}, horizon):
        return None, f"no normalized score: D4RL's references for {base} are for {reason}."
    return Reference(task.low, task.high, "D4RL", task.measure), None


def _differs(task: _Task, facts: EnvInfo, env_args: Mapping[str, Any], horizon: int) -> str | None:
    """What D4RL's references are for, in words, where the evaluation is something else."""
    if horizon != task.steps:
        return f"episodes of {task.steps} steps, and these have {horizon} (--max-episode-steps {task.steps})"
    if task.measure == "subtasks" and len(facts.subtasks) != KITCHEN_SUBTASKS:
        return f"{KITCHEN_SUBTASKS} subtasks, and this goal has {len(facts.subtasks)} (tasks_to_complete)"
    changed = _changed(task, env_args)
    return f"its usual rewards, and this one is made with {', '.join(changed)}" if changed else None


def _changed(task: _Task, env_args: Mapping[str, Any]) -> list[str]:
    """Arguments that may change the return, "name=value"."""
    if task.measure != "return":
        return []
    kwargs = recorded_kwargs(env_args)[0]
    usual = {"reward_type": "dense"}
    return [f"{k}={v!r}" for k, v in kwargs.items() if k not in task.ignore or usual.get(k, v) != v]
