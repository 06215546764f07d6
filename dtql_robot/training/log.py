"""What a training tells while it runs: rows of metrics, evaluations, checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from dtql_robot.algorithm.objectives import Losses
from dtql_robot.run_folder import METRICS, read_metrics
from dtql_robot.run_name import checkpoint_file
from dtql_robot.system.interrupts import Interrupts
from dtql_robot.training.callback import Callback, steppers
from dtql_robot.training.keeping import Keeper
from dtql_robot.training.learner import Learner
from dtql_robot.training.run import Run
from dtql_robot.training.saving import Saver, kept
from dtql_robot.training.watching import Watch


class Log:
    """Tells the callbacks what happens, and keeps the checkpoints that are asked for.

    A context: callbacks hear of the start when it is entered, and of the end when it is left.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        learner: Learner,
        saver: Saver,
        watch: Watch,
        callbacks: Sequence[Callback],
        interrupts: Interrupts,
    ) -> None:
        self.runs, self.learner, self.saver, self.watch, self.interrupts = runs, learner, saver, watch, interrupts
        self.callbacks, self._steppers = callbacks, steppers(callbacks)

    def __enter__(self) -> Log:
        folders = [run.folder for run in self.runs]
        with ExitStack() as begun:
            for callback in self.callbacks:
                callback.on_start(folders, self.learner.cfg, self.learner.step)
                begun.callback(self._end, callback)
            self._ends = begun.pop_all()
        self.keeper = Keeper(self.runs, self.learner.cfg)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def _end(self, callback: Callback) -> None:
        callback.on_end(self.learner.step)

    def stepped(self) -> None:
        """An update is done."""
        step = self.learner.step
        for callback in self._steppers:
            callback.on_step(step)
        if self.keeper.due(step):
            self.learner.scatter()
            for run, path in self.keeper.keep(step):
                self._saved(run, path)

    def write(self, losses: Losses) -> None:
        """A row for each run.  FloatingPointError where a value is not finite."""
        step, count = self.learner.step, len(self.runs)
        columns = {k: v.expand(count).tolist() for k, v in losses.items()}
        for i, run in enumerate(self.runs):
            row = {k: column[i] for k, column in columns.items()}
            bad = [k for k, v in row.items() if not np.isfinite(v)]
            if bad:
                raise FloatingPointError(
                    f"{bad} became NaN or infinite by step {step} ({run.folder}): {kept(self.saver.saved)}; "
                    f"lower --lr or check the data."
                )
            self._logged(run, row)

    def look(self) -> None:
        """Evaluate every run and measure it on what is held out."""
        self.learner.scatter()
        step = self.learner.step
        for run in self.runs:
            values, result = self.watch.look(run, lambda: bool(self.interrupts))
            if values:
                self._logged(run, values)
            if result is not None:
                for callback in self.callbacks:
                    callback.on_eval(run.folder, step, result)
                if (path := self.keeper.judged(run, step, values)) is not None:
                    self._saved(run, path)

    def catch_up(self) -> None:
        """The evaluation that a training that goes on was interrupted in."""
        step = self.learner.step
        rows = [read_metrics(run.folder / METRICS) for run in self.runs]
        last = [found[-1] if found and found[-1]["step"] == step else {} for found in rows]
        if any(run.resumed and self.watch.missed(step, row) for run, row in zip(self.runs, last, strict=True)):
            self.look()

    def save(self, *, last: bool) -> None:
        """Write the checkpoints that a training goes on from."""
        self.learner.scatter()
        self.saver.save(self.interrupts, last=last)
        for run in self.runs if self.saver.saved == self.learner.step else ():
            self._saved(run, checkpoint_file(run.folder))

    def _logged(self, run: Run, values: dict[str, float]) -> None:
        for callback in self.callbacks:
            callback.on_log(run.folder, self.learner.step, values)

    def _saved(self, run: Run, path: Path) -> None:
        for callback in self.callbacks:
            callback.on_checkpoint(run.folder, self.learner.step, path)
