"""Training: demonstrations in, a run folder out.  Imports no simulator."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.algorithm.objectives import Losses
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.run_folder import CONFIG, DATASET, METRICS, RunSettings, describe, read_config
from dtql_robot.system.files import write_json
from dtql_robot.system.interrupts import Interrupts, deferred_interrupts
from dtql_robot.system.progress import progress_bar
from dtql_robot.training.buffer import DiskChunkBuffer
from dtql_robot.training.distributed import Group, group_of
from dtql_robot.training.hardware import hardware, resolve_device
from dtql_robot.training.learner import Learner, make_learner
from dtql_robot.training.metrics_file import MetricsFile
from dtql_robot.training.pixel_buffer import PixelBuffer
from dtql_robot.training.prepare import Prepared, Resolved, prepare, resolve
from dtql_robot.training.run import Run, start
from dtql_robot.training.saving import Saver, complete, kept
from dtql_robot.training.together import (
    asked_to_stop,
    claimed_by_first,
    follow,
    is_logged,
    start_together,
    without_graph,
)
from dtql_robot.types import Demonstrations


def train(
    demos: Demonstrations,
    out: str | Path,
    cfg: Config | None = None,
    *,
    seeds: Sequence[int] = (),
    env: str | None = None,
    resume: bool = False,
    progress: bool = True,
    summary: dict[str, Any] | None = None,
) -> Path:
    """Train DTQL and return the run folder.

    seeds: train a policy for each of these seeds instead of `cfg.seed`, all at once, into `out/seed0`, `out/seed1`, ...
    env: the environment to evaluate in, where the demonstrations do not name theirs.
    resume: continue the folder's run, if there is one; its settings must be `cfg`'s, but for the number of steps and
    the intervals.
    summary: what `datasets.inspect` says of the data, kept in the run folder for its report.
    Ctrl-C and SIGTERM end the update under way and save it before KeyboardInterrupt goes on; FloatingPointError where
    training diverges: the last checkpoint stays.
    """
    out, cfg = Path(out), cfg or Config()
    with (
        hardware(cfg),
        group_of(cfg, len(seeds)) as group,
        claimed_by_first(group, out, cfg.seed, seeds, resume=resume) as folders,
    ):
        settings = resolve(demos, cfg, env)
        options: dict[str, Any] = {"resume": resume, "progress": progress, "summary": summary, "group": group}
        train_into(folders, demos, settings, env=env, **options)
    return out


def train_into(
    folders: Mapping[int, Path],
    demos: Demonstrations,
    settings: Resolved,
    *,
    env: str | None = None,
    resume: bool = False,
    progress: bool = True,
    summary: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
    group: Group | None = None,
) -> None:
    """`train`, into folders that are `claimed`: seed -> folder.

    say: takes what was decided and why, by sentences.  group: the processes that train together.
    """
    device = resolve_device(settings.cfg.device)
    prepared = prepare(demos, settings if group is None else without_graph(settings), device)
    _check_buffer(prepared, len(folders))
    if resume and group is None:
        complete(list(folders.values()))
    if group is None:
        runs = start(folders, prepared, device, resume)
    else:
        runs = start_together(group, folders, prepared, device, resume)
    for sentence in (*prepared.decisions, *runs[0].notes):
        say(sentence)
    learner = make_learner([run.agent for run in runs])
    first = "Stopping: the update under way is finished, then the training is saved."
    further = "The training is being saved; this takes a moment."
    with deferred_interrupts(first, further) as interrupts:
        if group is not None and group.rank:
            follow(group, learner, prepared.buffer, interrupts)
            return
        for run in runs:
            _write_settings(run, describe(demos, run.agent.cfg, env, prepared.decisions), summary)
        stopped = _train(runs, learner, prepared.buffer, interrupts, progress, group)
    if stopped:
        raise _interrupted(folders, learner)


def _check_buffer(prepared: Prepared, seeds: int) -> None:
    """InputError where the data does not allow what is asked for."""
    if seeds > 1 and isinstance(prepared.buffer, PixelBuffer):
        raise InputError("--seeds trains on low-dimensional observations; with images, train one --seed at a time.")
    if prepared.cfg.optim.cuda_graph == "on" and isinstance(prepared.buffer, PixelBuffer | DiskChunkBuffer):
        raise InputError("cuda_graph=on needs all data on the GPU; leave it out with images or data kept in a file.")


def _write_settings(run: Run, settings: RunSettings, summary: dict[str, Any] | None) -> None:
    if run.resumed and (run.folder / CONFIG).exists():
        before = read_config(run.folder)["decisions"]
        settings["decisions"] = list(dict.fromkeys([*before, *settings["decisions"], *run.notes]))
    write_json(run.folder / CONFIG, settings)
    if summary is not None:
        write_json(run.folder / DATASET, summary)


def _interrupted(folders: Mapping[int, Path], learner: Learner) -> BaseException:
    """What goes on after the save, with a sentence on what was saved."""
    out = next(iter(folders.values()))
    out = out if len(folders) == 1 else out.parent
    done = f"Update {learner.step} of {learner.cfg.updates} is saved in {out}"
    how = f"; go on with: dtql-robot train --out {shlex.quote(str(out))} --resume"
    error: Any = KeyboardInterrupt()  # `add_note` came with Python 3.11
    error.__notes__ = [done + (how if learner.step < learner.cfg.updates else ", so the training is complete.")]
    return error


def _train(
    runs: Sequence[Run],
    learner: Learner,
    buffer: Any,
    interrupts: Interrupts,
    progress: bool,
    group: Group | None,
) -> bool:
    """Update until the last step or an interrupt, of any process of the group, and save.  Returns: was it one?"""
    cfg, saved = learner.cfg, learner.step if all(run.resumed for run in runs) else None
    stopped = False
    with ExitStack() as stack:
        saver = stack.enter_context(Saver(runs, saved))
        stack.callback(learner.close)
        updates = stack.enter_context(closing(learner.updates(buffer)))
        log = stack.enter_context(_Log(runs, learner, saver, progress))
        while learner.step < cfg.updates and not (stopped := asked_to_stop(interrupts, group)):
            losses = next(updates)
            log.advance()
            if is_logged(learner):
                log.write(losses if group is None else group.mean_losses(losses))
            if learner.step % cfg.checkpoint_every == 0 and learner.step < cfg.updates:
                learner.scatter()
                saver.save(interrupts, last=False)
        if learner.step != saver.saved:
            learner.scatter()
            saver.save(interrupts, last=True)
    return stopped or bool(interrupts)


SHOWN = ("denoiser_loss", "trust_region", "nll", "q_loss", "policy_q")
"""Metrics beside the progress bar."""


class _Log:
    """The progress bar and every run's metrics.csv."""

    def __init__(self, runs: Sequence[Run], learner: Learner, saver: Saver, progress: bool):
        self.runs, self.learner, self.saver = runs, learner, saver
        title = "train" if len(runs) == 1 else f"train {len(runs)} seeds"
        steps = learner.cfg.updates
        self.bar = progress_bar(title, total=steps, unit="step", initial=learner.step, enabled=progress)
        self.tables = [MetricsFile(run.folder / METRICS, learner.step) for run in runs]
        self.advance = self.bar.update

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        for table in self.tables:
            table.close()
        lost = sum(table.lost for table in self.tables)
        if lost:
            print(f"{lost} rows of {METRICS} could not be written; only the curves miss them.", file=sys.stderr)

    def write(self, losses: Losses) -> None:
        """A row of each table.  FloatingPointError where a value is not finite."""
        step, count = self.learner.step, len(self.runs)
        columns = {k: v.expand(count).tolist() for k, v in losses.items()}
        rows = [{k: column[i] for k, column in columns.items()} for i in range(count)]
        for run, table, row in zip(self.runs, self.tables, rows, strict=True):
            bad = [k for k, v in row.items() if not np.isfinite(v)]
            if bad:
                raise FloatingPointError(
                    f"{bad} became NaN or infinite by step {step} ({run.folder}): {kept(self.saver.saved)}; "
                    f"lower --lr or check the data."
                )
            table.write(step, row)
        means = {k: sum(row[k] for row in rows) / count for k in SHOWN if k in rows[0]}
        self.bar.set_postfix({k: f"{v:.3g}" for k, v in means.items()}, refresh=False)
