"""Looks at a training from outside while it goes on: evaluations in simulation and the loss on held-out data.

Nothing here draws a random number of the training's, so that it goes on as if nobody had looked.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dtql_robot.config import Config
from dtql_robot.errors import InputError, describe
from dtql_robot.metrics import RETURNED, SCORED
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.training.held_out import HeldOut
from dtql_robot.training.run import Run
from dtql_robot.types import Judged

LOOKS = 20
"""How often the held-out loss is measured in a training without evaluations."""

Stopped = Callable[[], bool]
Judge = Callable[[OneStepPolicy, Stopped], "Judged | None"]
"""Evaluates a policy; None where it was asked to stop before the end."""


@dataclass(frozen=True)
class Watch:
    """What is looked at.  judge: evaluates a policy in simulation; None: no evaluations."""

    cfg: Config
    judge: Judge | None = None
    held_out: HeldOut | None = None

    @property
    def period(self) -> int | None:
        """Updates between two looks; None: never."""
        if self.judge is not None:
            return self.cfg.watch.eval_every
        if self.held_out is None:
            return None
        every = self.cfg.log_every
        return every * max(1, round(self.cfg.updates / LOOKS / every))

    def due(self, step: int) -> bool:
        """Whether an evaluation or a measurement is due after this update."""
        period = self.period
        return period is not None and (step % period == 0 or step == self.cfg.updates)

    def missed(self, step: int, row: Mapping[str, float]) -> bool:
        """Whether a training resumed at `step` was interrupted before its evaluation there.  row: what was logged."""
        judged = math.isfinite(row.get(RETURNED, math.nan))
        return self.judge is not None and step > 0 and self.due(step) and not judged

    def look(self, run: Run, stopped: Stopped) -> tuple[dict[str, float], Judged | None]:
        """(columns of metrics.csv, the evaluation if there is one) of a run as it is."""
        values = {} if self.held_out is None else self.held_out.measure(run.agent)
        result = None
        if self.judge is not None and not stopped():
            try:
                result = self.judge(OneStepPolicy(run.agent, run.fitted()), stopped)
            except (InputError, OSError, RuntimeError) as error:  # a simulator's fault must not cost a training
                said = str(error) if isinstance(error, InputError) else describe(error)
                print(f"\nno evaluation at update {run.agent.step}, training goes on: {said}", file=sys.stderr)
        return values | ({} if result is None else columns(result)), result


def columns(result: Judged) -> dict[str, float]:
    """What metrics.csv says of an evaluation, with its 95% intervals."""
    values = {"eval_episodes": float(result.episodes)}
    if result.success_rate is not None and result.ci95 is not None:
        low, high = result.ci95
        values |= {"eval_success": result.success_rate, "eval_success_low": low, "eval_success_high": high}
    values[RETURNED] = result.mean_return
    if result.return_ci95 is not None:
        values |= {"eval_return_low": result.return_ci95[0], "eval_return_high": result.return_ci95[1]}
    if result.normalized_score is not None:
        values[SCORED] = result.normalized_score
    return values
