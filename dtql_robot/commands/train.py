"""`dtql-robot train`: demonstrations into a run folder."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtql_robot import paper
from dtql_robot.commands.words import parse_seeds
from dtql_robot.config import Config
from dtql_robot.env_record import MAX_STEPS, choose_env, is_module_id, recorded_kwargs, with_time_limit
from dtql_robot.errors import InputError
from dtql_robot.system.files import expanded
from dtql_robot.system.plugins import CONSENT, DATASETS, require_consent

if TYPE_CHECKING:
    from dtql_robot.paper import Row
    from dtql_robot.types import Demonstrations

BASIC = (
    *("steps", "seed", "device", "obs_keys", "filter_key", "reward", "behaviour", "horizon", "n_action_steps"),
    *("policy_hidden", "q_weight", "batch_size", "lr", "encoder", "log_every", "checkpoint_every"),
)
"""Settings in `train --help`; `train --help-all` has them all."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a one-step policy by Diffusion Trusted Q-Learning.

    The run folder receives config.json, metrics.csv and checkpoint.pt. Ctrl-C saves and stops; --resume continues.
    Example: dtql-robot train --data low_dim.hdf5 --out runs/lift --steps 20000
    """

    out: Path
    """Run folder to write."""
    data: str | None = None
    """robomimic, D4RL or Minari HDF5, OGBench .npz, Zarr store (file or folder), minari:NAMESPACE/ID."""
    env: str | None = None
    """Environment to evaluate in, such as AdroitHandDoor-v1. Default: the one named in the data."""
    preset: str | None = None
    """Start from a named recipe instead of the default one: mse-bc, diffusion-bc, iql, tr-only, kl, no-q, or the
    paper's settings for a D4RL dataset, such as paper:pen-human-v1 (docs/paper.md lists them)."""
    max_episode_steps: int | None = None
    """Time limit of evaluation episodes, in steps. Default: the environment's own."""
    resume: bool = False
    """Continue the run in --out with its own settings, up to --steps updates."""
    seeds: tuple[str, ...] = ()
    """Train one policy per seed, all at once, into OUT/seed0, OUT/seed1, ... Write 0..7, 0 1 2 or 0,1,2."""
    config: Config = field(default_factory=Config)


def defaults(arguments: Sequence[str]) -> Options | None:
    """With --resume the settings of the run that is there are the defaults, with --preset the preset's."""
    given, name = _value(arguments, "--out"), _value(arguments, "--preset")
    if given is None:
        return None
    out, config = expanded(Path(given)), None
    if name is not None:
        from dtql_robot.presets import preset

        config = preset(name)
    if "--resume" in arguments:
        from dtql_robot.run_folder import CONFIG, read_config, seed_runs

        runs = seed_runs(out)
        if runs or (out / CONFIG).exists():
            saved = read_config(next(iter(runs.values()), out))
            seeds = tuple(str(seed) for seed in runs)
            config = config or Config.from_dict(saved["config"])
            require_consent(config.plugins, out)
            if _value(arguments, "--data") is None:
                _check_recorded_data(saved["data"], out)
            limit = recorded_kwargs(saved["env_args"])[1]
            return Options(
                out=out, data=saved["data"], env=saved["env"], max_episode_steps=limit, resume=True, seeds=seeds,
                config=config,
            )  # fmt: skip
    return None if config is None else Options(out=out, preset=name, config=config)


def _check_recorded_data(data: str, run: Path) -> None:
    """InputError where the data that a run folder names would make a plugin run, or something be downloaded."""
    from dtql_robot.datasets.formats.plugin_read import split_plugin
    from dtql_robot.datasets.loader import split_sources
    from dtql_robot.datasets.published.fetch import place
    from dtql_robot.datasets.published.names import is_published

    for source in split_sources(data):
        added = split_plugin(source)
        if added is not None:
            require_consent([(DATASETS, added[0])], run)
        if is_published(source) and not place(source).exists():
            raise InputError(f"{run} was trained on {source}, which is not here. If you trust {run}, fetch it with "
                             f"`dtql-robot data fetch {source}`, or name the data with --data.")  # fmt: skip


def _value(arguments: Sequence[str], flag: str) -> str | None:
    """What follows `flag` on the command line, as "--flag value" or "--flag=value"."""
    spaced = (b for a, b in itertools.pairwise(arguments) if a == flag)
    joined = (a.split("=", 1)[1] for a in arguments if a.startswith(f"{flag}="))
    return next(itertools.chain(spaced, joined), None)


def _typed_env(options: Options) -> str | None:
    """The environment that the user typed.  With --resume it may be what config.json says: no reason to import code."""
    from_file = options.resume and is_module_id(options.env)
    return None if from_file else options.env


def _limited(demos: Demonstrations, options: Options) -> tuple[Demonstrations, tuple[str, ...]]:
    """The data with --max-episode-steps in its record of the environment; sentences about a record that is dropped."""
    steps = options.max_episode_steps
    if steps is None:
        return demos, ()
    if not 1 <= steps <= MAX_STEPS:
        raise InputError(f"--max-episode-steps must be from 1 to {MAX_STEPS}, found {steps}.")
    chosen = choose_env(options.env, demos.env_spec, demos.env_args, source=demos.source)
    return replace(demos, env_spec=chosen.spec, env_args=with_time_limit(chosen.env_args, steps)), chosen.notes


def _row(options: Options) -> Row | None:
    """The paper's row that --preset names."""
    return None if options.preset is None else paper.row_of(options.preset)


def _recipe(options: Options) -> tuple[str, ...]:
    """What --preset changes, in a sentence."""
    if options.preset is None or options.resume:
        return ()
    from dtql_robot.presets import changes

    return (f"--preset {options.preset} instead of the default recipe: {' '.join(changes(options.preset))}",)


def _as_published(demos: Demonstrations, options: Options) -> tuple[Demonstrations, tuple[str, ...]]:
    """The data with the environment in which the paper judges the preset's row, where the data names none."""
    row = _row(options)
    if row is None or options.env is not None or demos.env_spec is not None:
        return demos, ()
    said = f"the data names no environment: {row.env}, with {row.horizon} steps an episode, as the preset's row has it"
    return replace(demos, env_spec=row.env, env_args=with_time_limit(demos.env_args, row.horizon)), (said,)


def run(options: Options) -> None:
    """Check the data, train, and print the run folder and the next command."""
    out, cfg, seeds = expanded(options.out), options.config, parse_seeds(options.seeds)
    if options.data is None:
        nothing = f"; there is no run in {out} to continue" if options.resume else ""
        raise InputError(f"--data is missing{nothing}; give a demonstration file (see --help).")
    from dtql_robot.commands.fit import check_fit
    from dtql_robot.commands.validate import load_valid
    from dtql_robot.datasets import inspect
    from dtql_robot.training.distributed import group_of, said_once
    from dtql_robot.training.hardware import hardware, peak_memory
    from dtql_robot.training.loop import train_into
    from dtql_robot.training.prepare import headline, resolve
    from dtql_robot.training.together import claimed_by_first

    resume = options.resume
    with (
        hardware(cfg),
        group_of(cfg, len(seeds)) as group,
        said_once(group),
        claimed_by_first(group, out, cfg.seed, seeds, resume=resume) as folders,
    ):
        demos = load_valid(options.data, cfg.data)
        demos, judged = _as_published(demos, options)
        demos, dropped = _limited(demos, options)
        settings = resolve(demos, cfg, options.env)
        notes = check_fit(demos, _typed_env(options), settings.cfg.data.obs_keys)
        for line in (headline(demos, settings.cfg), *_recipe(options), *judged, *dropped, *notes):
            print(line)
        summary = inspect(demos)
        further: dict[str, Any] = {"resume": resume, "summary": summary, "say": _say, "group": group}
        train_into(folders, demos, settings, env=options.env, **further)
        print(f"trained: {out} (peak memory {peak_memory()})")
        print(f"next:    {shlex.join(_next_words(options, out, settings.cfg))}")


def _next_words(options: Options, out: Path, cfg: Config) -> list[str]:
    """The command that evaluates the run."""
    added = ",".join(name for _, name in cfg.plugins)
    words = [*([f"{CONSENT}={added}"] if added else []), "dtql-robot", "eval", str(out)]
    words += ["--video", str(out / "rollouts.mp4")]
    if (row := _row(options)) is not None:
        words += ["--episodes", str(row.episodes)]
    if options.env is not None and is_module_id(options.env):  # only what is typed may import a module
        words += ["--env", options.env]
    return words


def _say(sentence: str) -> None:
    print(f"  {sentence}")
