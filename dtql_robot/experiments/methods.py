"""The methods that are compared: recipes of this package by name, the paper's settings of each row, other packages'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtql_robot import paper
from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.experiments.suites import BenchTask

METHODS: dict[str, str | None] = {
    "dtql": None,
    "no-q": "no-q",
    "mse-bc-successes": "mse-bc-successes",
    "mse-bc": "mse-bc",
    "diffusion-bc": "diffusion-bc",
    "tr-only": "tr-only",
    "kl": "kl",
    "iql": "iql",
    "idql": "idql",
}
"""Method -> preset of `train`; None is the default recipe."""

RIVALS = ("td3-bc",)
"""Methods of other packages, which programs in benchmarks/ add to the results of a suite."""

PAPER_METHODS = {"paper": paper.PREFIX, "paper-kl": paper.KL_PREFIX}
"""Method -> beginning of its presets, which go on with the task's name: the paper's own settings of each row."""


def preset_of(method: str, task: BenchTask) -> str | None:
    """The preset that a method trains a task with; None is the default recipe.  InputError where the paper has none."""
    if method not in PAPER_METHODS:
        return METHODS[method]
    row = task.paper_row
    if row is None:
        raise InputError(
            f"--methods {method} are the paper's settings of its own tasks, of which {task.name} is none; "
            "`bench paper` has them."
        )
    return PAPER_METHODS[method] + row.dataset
