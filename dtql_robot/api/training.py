"""`train`: demonstrations in, a run folder out."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dtql_robot import paper
from dtql_robot.api.demonstrations import take
from dtql_robot.api.fit import check_fit
from dtql_robot.api.judging import make_judge
from dtql_robot.api.settings import with_settings
from dtql_robot.config import Config
from dtql_robot.config.checks import require
from dtql_robot.env_record import MAX_STEPS, choose_env, d4rl_task, recorded_kwargs, with_time_limit
from dtql_robot.errors import InputError, require_choice, require_list, require_path, require_whole
from dtql_robot.presets import changes, preset
from dtql_robot.system.files import expanded
from dtql_robot.tracking.tracking import Tracking
from dtql_robot.training.callback import Callback
from dtql_robot.training.distributed import group_of, said_once
from dtql_robot.training.hardware import hardware, resolve_device
from dtql_robot.training.init_from import INIT_NORMS, InitNorm, Origin, inherited, read_origin
from dtql_robot.training.loop import train_into
from dtql_robot.training.prepare import headline, resolve
from dtql_robot.training.together import claimed_by_first
from dtql_robot.types import Demonstrations

Say = Callable[[str], None]
GYM_KITCHEN = (59,)
"""Numbers of an observation of FrankaKitchen-v1; D4RL's have 60."""


def train(
    data: Demonstrations | str | os.PathLike[str],
    out: str | os.PathLike[str],
    cfg: Config | str | None = None,
    *,
    seeds: Sequence[int] = (),
    env: str | None = None,
    max_episode_steps: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    init_from: str | os.PathLike[str] | None = None,
    init_norm: InitNorm = "keep",
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    summary: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Train DTQL and return the run folder.

        train("lift.hdf5", "runs/lift")
        train(demos, "runs/lift", steps=20_000, eval_every=1000, keep="last,best")
        train("mine.hdf5", "runs/mine", init_from="runs/lift")

    data: demonstrations, or what `load` takes; a file is checked as `dtql-robot validate` does.
    cfg: all settings, or a preset's name; None: the default recipe, or that of the run in `init_from`.
    settings: some of them by name, as `dtql-robot train --help-all` lists them (with _ for -).
    seeds: train a policy for each of these seeds instead of `cfg.seed`, all at once, into `out/seed0`, `out/seed1`, ...
    env: the environment to evaluate in, if the demonstrations name none.  max_episode_steps: its time limit.
    resume: continue the folder's run, if there is one; its settings must be the same, except the number of steps and
    the intervals.  overwrite: replace the folder's run, once the data has been read.
    init_from: a run folder, or a checkpoint of one ("runs/lift@best"), whose weights to start from.  init_norm: "keep"
    its scaling of observations and actions, or "refit" it to this data.
    callbacks: notified of what happens, see `Callback`.  summary: kept in the run folder; None: what
    `inspect` says of the data.
    Ctrl-C and SIGTERM finish the current update and save before KeyboardInterrupt is raised.  FloatingPointError if
    training diverges; the last checkpoint is kept.
    """
    require_choice("init_norm", init_norm, INIT_NORMS)
    callbacks = require_list("callbacks", callbacks, Callback, "instances of dtql_robot.Callback")
    _require_names(data, out, env, init_from)
    seeds = _seeds(seeds)
    begin = None if init_from is None else expanded(Path(init_from))
    name = cfg if isinstance(cfg, str) else None
    cfg = with_settings(_recipe_named(cfg, begin), settings)
    how = Training(expanded(Path(out)), cfg, seeds, env, env, max_episode_steps, preset=name)
    how = replace(how, resume=resume, overwrite=overwrite, init_from=begin, init_norm=init_norm)
    run_training(data, how, callbacks=callbacks, progress=progress, summary=summary)
    return how.out


def _require_names(data: object, out: object, env: object, init_from: object) -> None:
    """InputError unless what names a file, a folder or an environment is of a kind that can."""
    if not isinstance(data, Demonstrations):
        require_path("data", data)
    require_path("out", out)
    if env is not None and not isinstance(env, str):
        raise InputError(f"env is {env!r:.80}; expected the name of an environment.")
    if init_from is not None:
        require_path("init_from", init_from)


def _seeds(given: Sequence[int]) -> tuple[int, ...]:
    """The seeds as whole numbers, each once; else InputError."""
    seeds = require_list("seeds", given, object, "whole numbers")
    for seed in seeds:
        require_whole("seeds", seed, 0)
    if len(set(seeds)) < len(seeds):
        raise InputError(f"seeds has one twice: {', '.join(map(str, seeds))}.")
    return tuple(operator.index(seed) for seed in seeds)


@dataclass(frozen=True)
class Training:
    """What `train` was asked to do.  typed_env: `env` where a user typed it: only that may make Python import code."""

    out: Path
    cfg: Config
    seeds: tuple[int, ...] = ()
    env: str | None = None
    typed_env: str | None = None
    max_episode_steps: int | None = None
    resume: bool = False
    overwrite: bool = False
    init_from: Path | None = None
    init_norm: InitNorm = "keep"
    preset: str | None = None


def run_training(
    data: Demonstrations | str | os.PathLike[str],
    how: Training,
    *,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    summary: dict[str, Any] | None = None,
    say: Say = lambda _: None,
    then: Callable[[Config], None] = lambda _: None,
) -> None:
    """Check the data and train.

    say: takes what was found and decided, line by line.  then: called at the end, with the settings as they were used.
    """
    cfg = how.cfg
    with (
        hardware(cfg),
        group_of(cfg, len(how.seeds)) as group,
        said_once(group),
        claimed_by_first(group, how.out, cfg.seed, how.seeds, resume=how.resume, overwrite=how.overwrite) as folders,
    ):
        origin = _origin(how)
        parts = take(data, cfg)
        demos, judged = _judged_in(parts.demos, how)
        found = resolve(demos, cfg, how.env)
        if origin is not None:
            origin.check(demos, found.cfg)
        fit = check_fit(demos, how.typed_env, found.cfg.data.obs_keys) if not isinstance(data, Demonstrations) else []
        trackers = [Tracking(cfg.watch.trackers)] if cfg.watch.trackers and (group is None or group.rank == 0) else []
        judge = make_judge(cfg, choose_env(how.typed_env, demos.env_spec, demos.env_args, source=demos.source))
        for line in (headline(demos, found.cfg), *_recipe(how), *judged, *fit):
            say(line)
        train_into(
            folders,
            demos,
            found,
            env=how.env,
            resume=how.resume,
            progress=progress,
            summary=summary or parts.summary(demos),
            say=lambda sentence: say(f"  {sentence}"),
            valid=parts.valid,
            notes=parts.notes,
            judge=judge,
            callbacks=[*trackers, *callbacks],
            origin=origin,
            group=group,
        )
        then(found.cfg)


def _recipe_named(cfg: Config | str | None, begin: Path | None) -> Config:
    """All settings, of a preset's name or, where nothing is named, of the run to begin with."""
    if cfg is None:
        return Config() if begin is None else inherited(begin)
    if not isinstance(cfg, str | Config):
        raise InputError(f"cfg is {cfg!r:.80}; expected a Config or a preset's name; single settings are keywords.")
    return preset(cfg) if isinstance(cfg, str) else cfg


def _recipe(how: Training) -> tuple[str, ...]:
    """What the preset changes, in a sentence."""
    if how.preset is None or how.resume:
        return ()
    said = f"--preset {how.preset} instead of the default recipe: {' '.join(changes(how.preset))}"
    first = how.cfg.optim.pretrain_steps
    if first <= how.cfg.steps:
        return (said,)
    return (said, f"the policy starts after {first} updates of pretraining (--pretrain-steps), not counted in --steps")


def _origin(how: Training) -> Origin | None:
    """The weights to begin with."""
    if how.init_from is None:
        return None
    return read_origin(how.init_from, how.init_norm, resolve_device(how.cfg.device))


def _judged_in(demos: Demonstrations, how: Training) -> tuple[Demonstrations, tuple[str, ...]]:
    """The data with the environment and the time limit to judge a policy in; sentences where its own record differs."""
    demos, published = _as_published(demos, how)
    demos, dropped = _limited(demos, how)
    return demos, (*published, *dropped)


def _as_published(demos: Demonstrations, how: Training) -> tuple[Demonstrations, tuple[str, ...]]:
    """The data with the environment in which the paper judges the preset's row, where no other is meant."""
    row = None if how.preset is None else paper.row_of(how.preset)
    named = how.env or demos.env_spec
    if row is not None and named is not None and row.robot not in named.lower():
        return demos, (f"warning: --preset {how.preset} has the settings of {row.env}, and this data is of {named}",)
    if row is None or named not in (None, row.env) or recorded_kwargs(demos.env_args)[1] is not None:
        return demos, ()
    spec, arguments = row.env, dict(demos.env_args)
    kitchen = d4rl_task(row.dataset) if named is None else None
    if kitchen is not None and kitchen.subtasks and demos.obs_shapes.get("observation") == GYM_KITCHEN:
        spec, arguments = "FrankaKitchen-v1", {"tasks_to_complete": list(kitchen.subtasks)}
    why = "the data names no environment: " if named is None else ""
    said = f"{why}{spec}, with {row.horizon} steps per episode, as the preset's row has it"
    return replace(demos, env_spec=spec, env_args=with_time_limit(arguments, row.horizon)), (said,)


def _limited(demos: Demonstrations, how: Training) -> tuple[Demonstrations, tuple[str, ...]]:
    """The data with the time limit in its record of the environment; sentences about a record that is dropped."""
    steps = how.max_episode_steps
    if steps is None:
        return demos, ()
    whole = hasattr(steps, "__index__")
    require(whole and 1 <= steps <= MAX_STEPS, "max_episode_steps", steps, f"a whole number from 1 to {MAX_STEPS}")
    chosen = choose_env(how.env, demos.env_spec, demos.env_args, source=demos.source)
    return replace(demos, env_spec=chosen.spec, env_args=with_time_limit(chosen.env_args, steps)), chosen.notes
