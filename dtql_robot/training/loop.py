"""Training: demonstrations in, a run folder out.  Imports no simulator."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch

from dtql_robot import checkpoint
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface
from dtql_robot.run_folder import CONFIG, DATASET, RunSettings, describe, read_config
from dtql_robot.run_name import CHECKPOINT
from dtql_robot.system.files import write_json
from dtql_robot.system.interrupts import Interrupts, deferred_interrupts
from dtql_robot.training.callback import Callback
from dtql_robot.training.claim import clear
from dtql_robot.training.distributed import Group, group_of
from dtql_robot.training.hardware import hardware, resolve_device
from dtql_robot.training.held_out import measured_on
from dtql_robot.training.init_from import Origin
from dtql_robot.training.learner import Learner, make_learner
from dtql_robot.training.log import Log
from dtql_robot.training.metrics_file import MetricsWriter
from dtql_robot.training.pixel_buffer import PixelBuffer
from dtql_robot.training.prepare import Prepared, Resolved, prepare, resolve
from dtql_robot.training.progress import Progress
from dtql_robot.training.run import Run, start
from dtql_robot.training.saving import Saver, complete
from dtql_robot.training.together import (
    asked_to_stop,
    claimed_by_first,
    follow,
    is_logged,
    start_together,
    without_graph,
)
from dtql_robot.training.watching import Judge, Watch
from dtql_robot.types import Demonstrations

_STOPPING = "Stopping: the update under way is finished, then the training is saved."
_SAVING = "The training is being saved; this takes a moment."


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
    valid: Demonstrations | None = None,
    notes: Sequence[str] = (),
    judge: Judge | None = None,
    callbacks: Sequence[Callback] = (),
    origin: Origin | None = None,
    group: Group | None = None,
) -> None:
    """`train`, into folders that are `claimed`: seed -> folder.

    say: takes what was decided and why, by sentences.  valid: demonstrations that are held out, to measure the loss on.
    notes: further sentences, on what was decided before.
    judge: evaluates a policy every `eval_every` updates.  callbacks: told of what happens, see `Callback`.
    origin: the weights to begin with.  A run that a folder holds and that is not resumed is replaced.
    group: the processes that train together.
    """
    device = resolve_device(settings.cfg.device)
    if origin is not None:
        origin.check(demos, settings.cfg)
    if group is not None:
        settings = without_graph(settings)
    prepared = prepare(demos, settings, device, _scalings(folders, origin, resume))
    _check_buffer(prepared, len(folders))
    held_out = None if valid is None else measured_on(valid, prepared, settings, device)
    watch = Watch(prepared.cfg, judge, held_out)
    told = [MetricsWriter(), *([Progress()] if progress else []), *callbacks]
    runs = _start(folders, prepared, device, resume, origin, group)
    began = origin is not None and not all(run.resumed for run in runs)
    decisions = (*notes, *prepared.decisions, *(origin.sentences(demos) if origin is not None and began else ()))
    for sentence in (*decisions, *runs[0].notes):
        say(sentence)
    learner = make_learner([run.agent for run in runs])
    with deferred_interrupts(_STOPPING, _SAVING) as interrupts:
        if group is not None and group.rank:
            follow(group, learner, prepared.buffer, interrupts)
            return
        for run in runs:
            _begin_folder(run, describe(demos, run.agent.cfg, env, decisions), summary, origin)
        if _train(runs, learner, prepared.buffer, interrupts, watch, told, group):
            raise _interrupted(folders, learner)  # in here: a further signal cannot come before it


def _start(
    folders: Mapping[int, Path],
    prepared: Prepared,
    device: torch.device,
    resume: bool,
    origin: Origin | None,
    group: Group | None,
) -> Sequence[Run]:
    """The run of each folder, new or resumed; with a group, the same in all its processes."""
    if group is not None:
        return start_together(group, folders, prepared, device, resume, origin)
    if resume:
        complete(list(folders.values()))
    return start(folders, prepared, device, resume, origin)


def _scalings(folders: Mapping[int, Path], origin: Origin | None, resume: bool) -> Interface | None:
    """Whose scalings to keep; None where the data decides."""
    begun = next(iter(folders.values()))
    if resume and (begun / CHECKPOINT).exists() and (begun / CONFIG).exists():
        kept_then = read_config(begun)["init_norm"] == "keep"
        return checkpoint.read(begun, torch.device("cpu"))[1] if kept_then else None
    return origin.face if origin is not None and origin.norm == "keep" else None


def _check_buffer(prepared: Prepared, seeds: int) -> None:
    """InputError where the data does not allow what is asked for."""
    if seeds > 1 and isinstance(prepared.buffer, PixelBuffer):
        raise InputError("--seeds trains on low-dimensional observations; with images, train one --seed at a time.")
    if prepared.cfg.optim.cuda_graph == "on" and not prepared.buffer.in_memory:
        raise InputError(
            "cuda_graph=on needs all data on the GPU, and this data is kept in a file because it needs more than half "
            "of the GPU's free memory (or $DTQL_ROBOT_MEMORY_GB); leave it out."
        )


def _begin_folder(run: Run, settings: RunSettings, summary: dict[str, Any] | None, origin: Origin | None) -> None:
    """Remove the run that this one replaces, and write down the settings and what the data is."""
    if not run.resumed and (run.folder / CHECKPOINT).exists():
        clear(run.folder)
    if origin is not None:
        settings |= {"init_from": str(origin.run), "init_norm": origin.norm}
    if run.resumed and (run.folder / CONFIG).exists():
        before = read_config(run.folder)
        settings |= {"init_from": before["init_from"], "init_norm": before["init_norm"]}
        settings["decisions"] = list(dict.fromkeys([*before["decisions"], *settings["decisions"], *run.notes]))
    write_json(run.folder / CONFIG, settings)
    if summary is not None:
        write_json(run.folder / DATASET, summary)


def _interrupted(folders: Mapping[int, Path], learner: Learner) -> BaseException:
    """What goes on after the save, with a sentence on what was saved."""
    out = next(iter(folders.values()))
    out = out if len(folders) == 1 else out.parent
    done = f"Update {learner.step} of {learner.cfg.updates} is saved in {out}"
    how = f"; continue with: dtql-robot train --out {shlex.quote(str(out))} --resume"
    error: Any = KeyboardInterrupt()  # `add_note` came with Python 3.11
    error.__notes__ = [done + (how if learner.step < learner.cfg.updates else ", so the training is complete.")]
    return error


def _train(
    runs: Sequence[Run],
    learner: Learner,
    buffer: Any,
    interrupts: Interrupts,
    watch: Watch,
    callbacks: Sequence[Callback],
    group: Group | None,
) -> bool:
    """Update until the last step or an interrupt, of any process of the group, and save.  Returns whether it was an
    interrupt."""
    cfg, saved = learner.cfg, learner.step if all(run.resumed for run in runs) else None
    stopped = False
    with ExitStack() as stack:
        saver = stack.enter_context(Saver(runs, saved))
        stack.callback(learner.close)
        updates = stack.enter_context(closing(learner.updates(buffer)))
        log = stack.enter_context(Log(runs, learner, saver, watch, callbacks, interrupts))
        log.catch_up()
        while learner.step < cfg.updates and not (stopped := asked_to_stop(interrupts, group)):
            losses = next(updates)
            log.stepped()
            if is_logged(learner):
                log.write(losses if group is None else group.mean_losses(losses))
            if watch.due(learner.step):
                log.look()
            if learner.step % cfg.checkpoint_every == 0 and learner.step < cfg.updates:
                log.save(last=False)
        if learner.step != saver.saved:
            log.save(last=True)
    return stopped or bool(interrupts)
