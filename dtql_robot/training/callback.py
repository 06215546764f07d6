"""What may be told of a training while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dtql_robot.config import Config
from dtql_robot.types import Judged


class Callback:
    """Notified of what happens during training.  Subclass it and define the methods you need; the others do nothing.

        class Print(Callback):
            def on_eval(self, run, step, result):
                print(step, result.success_rate)

        train("pick.hdf5", "runs/pick", eval_every=1000, callbacks=[Print()])

    An exception that it raises ends training; the last checkpoint is kept.  Training several seeds has several runs.
    """

    def on_start(self, runs: Sequence[Path], cfg: Config, step: int) -> None:
        """Before the first update.  runs: the run folders.  step: updates done already (`resume`)."""

    def on_step(self, step: int) -> None:
        """After every update.  Called only where it is defined."""

    def on_log(self, run: Path, step: int, values: Mapping[str, float]) -> None:
        """With what goes into a row of the run's metrics.csv."""

    def on_eval(self, run: Path, step: int, result: Judged) -> None:
        """After an evaluation during training (`eval_every`); result: an `EvalResult`."""

    def on_checkpoint(self, run: Path, step: int, path: Path) -> None:
        """After a checkpoint was written to `path`."""

    def on_end(self, step: int) -> None:
        """After the last update and its checkpoint, and also if training was interrupted or failed."""


def steppers(callbacks: Sequence[Callback]) -> list[Callback]:
    """Those that define `on_step`: the others cost an update nothing."""
    return [c for c in callbacks if getattr(type(c), "on_step", None) is not Callback.on_step]
