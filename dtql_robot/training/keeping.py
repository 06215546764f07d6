"""Checkpoints that stay beside the last one: that of the best evaluation, and one every N updates."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dtql_robot import checkpoint
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.metrics import RETURNED, best_evaluation
from dtql_robot.run_folder import METRICS, read_metrics
from dtql_robot.run_name import checkpoint_file
from dtql_robot.training.run import Run


class Keeper:
    """Writes what `keep` asks for.  Begin it after metrics.csv is cut to the step that training goes on from."""

    def __init__(self, runs: Sequence[Run], cfg: Config) -> None:
        self.runs, self.cfg = runs, cfg.watch
        self._rows = {run.folder: self._known(run) for run in runs} if self.cfg.keeps_best else {}

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be kept because of this update's number."""
        return any(step % period == 0 for period in self.cfg.keeps_every)

    def keep(self, step: int) -> Iterator[tuple[Run, Path]]:
        """Write every run's checkpoint under the number of the update."""
        yield from ((run, path) for run in self.runs if (path := _write(run, str(step))) is not None)

    def judged(self, run: Run, step: int, values: Mapping[str, float]) -> Path | None:
        """Write the run's checkpoint where its evaluation is the best so far."""
        if not self.cfg.keeps_best or RETURNED not in values:
            return None
        rows = self._rows[run.folder]
        rows.append({"step": step, **{name: float(f"{value:.6g}") for name, value in values.items()}})
        best = best_evaluation(rows)
        assert best is not None
        rows[:] = [best]
        return _write(run, "best") if best["step"] == step else None

    def _known(self, run: Run) -> list[Mapping[str, float]]:
        """The best evaluation of the part of the run that is done, where its checkpoint is there."""
        known = best_evaluation(read_metrics(run.folder / METRICS)) if run.resumed else None
        return [known] if known is not None and checkpoint_file(run.folder, "best").exists() else []


def _write(run: Run, name: str) -> Path | None:
    """The path; None where the disk does not take it: a training is worth more than a copy of it."""
    path = checkpoint_file(run.folder, name)
    try:
        checkpoint.save(run.folder, run.agent, run.fitted(), path)
    except (OSError, InputError) as error:
        print(f"\n{path.name} could not be written ({error}); training goes on.", file=sys.stderr)
        return None
    return path
