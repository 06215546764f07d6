"""`dtql-robot train`: demonstrations into a run folder."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dtql_robot import paper
from dtql_robot.commands.words import parse_seeds
from dtql_robot.config import Config
from dtql_robot.env_record import is_module_id, recorded_kwargs
from dtql_robot.errors import InputError
from dtql_robot.system.files import expanded
from dtql_robot.system.plugins import CONSENT, DATASETS, require_consent

BASIC = (
    *("steps", "seed", "device", "obs_keys", "filter_key", "reward", "behaviour", "horizon", "n_action_steps"),
    *("policy_hidden", "q_weight", "batch_size", "lr", "encoder", "log_every", "checkpoint_every"),
    *("eval_every", "eval_episodes", "valid_fraction", "keep", "log"),
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
    """robomimic, D4RL or Minari HDF5; OGBench .npz; Zarr store; LeRobot folder; or the name of a published data set,
    such as minari:NAMESPACE/ID. Several: A,B."""
    env: str | None = None
    """Environment to evaluate in, such as AdroitHandDoor-v1. Default: the one named in the data."""
    preset: str | None = None
    """Start from a named recipe instead of the default one: mse-bc, diffusion-bc, iql, tr-only, kl, no-q, or the
    paper's settings for a D4RL dataset, such as paper:pen-human-v1 (docs/paper.md lists them)."""
    max_episode_steps: int | None = None
    """Time limit of evaluation episodes, in steps. Default: the environment's own."""
    config: Path | None = None
    """Read settings from this .yaml or .json file; options on the command line override them. The config.json of a run
    repeats that run."""
    init_from: Path | None = None
    """Start from the weights and settings of this run folder, or of one of its checkpoints (RUN@best)."""
    init_norm: Literal["keep", "refit"] = "keep"
    """With --init-from: keep the scaling of observations and actions of that run, or refit it to the data."""
    resume: bool = False
    """Continue the run in --out with its own settings, up to --steps updates. If there is none yet, start it."""
    overwrite: bool = False
    """Replace the run in --out."""
    seeds: tuple[str, ...] = ()
    """Train one policy per seed, all at once, into OUT/seed0, OUT/seed1, ... Write 0..7, 0 1 2 or 0,1,2."""
    cluster: str | None = None
    """With --seeds, where to train each: local, auto, an address, or slurm (docs/scale.md). Default: here."""
    cluster_config: Path | None = None
    """JSON file with what a task may use of the cluster (docs/scale.md)."""
    settings: Config = field(default_factory=Config)


def defaults(arguments: Sequence[str]) -> Options | None:
    """The settings that options replace: with --resume those of the run that is there, with --config those of the file,
    with --init-from that run's, with --preset the preset's."""
    given = _value(arguments, "--out")
    if given is None:
        return None
    out = expanded(Path(given))
    if "--resume" in arguments and (found := _resumed(arguments, out)) is not None:
        return found
    file, origin, name = (_value(arguments, flag) for flag in ("--config", "--init-from", "--preset"))
    if name is not None and origin is not None:
        raise InputError("--init-from starts from a run's settings, --preset from a recipe's; use only one of them.")
    config = _begun(origin, name)
    if file is None:
        return None if config is None else Options(out=out, preset=name, settings=config)
    from dtql_robot.api.settings import read_settings

    path = expanded(Path(file))
    read = read_settings(path, config or Config())
    require_consent(read.config.plugins, path)
    if read.data is not None and _value(arguments, "--data") is None:
        _check_recorded_data(read.data, path)
    norm: Any = read.init_norm or "keep"
    return Options(
        out=out,
        data=read.data,
        env=read.env,
        preset=name,
        max_episode_steps=recorded_kwargs(read.env_args)[1],
        config=path,
        init_from=Path(read.init_from) if read.init_from else None,
        init_norm=norm,
        settings=read.config,
    )


def _begun(origin: str | None, name: str | None) -> Config | None:
    """The settings of the run to begin with, or of the preset."""
    if origin is not None:
        from dtql_robot.training.init_from import inherited

        config = inherited(expanded(Path(origin)))
        require_consent(config.plugins, Path(origin))
        return config
    if name is None:
        return None
    from dtql_robot.presets import preset

    return preset(name)


def _resumed(arguments: Sequence[str], out: Path) -> Options | None:
    """What the run in `out` was started with; None where there is none."""
    from dtql_robot.run_folder import CONFIG, read_config, seed_runs

    runs = seed_runs(out)
    if not runs and not (out / CONFIG).exists():
        return None
    saved = read_config(next(iter(runs.values()), out))
    name = _value(arguments, "--preset")
    config = _begun(None, name) or Config.from_dict(saved["config"])
    require_consent(config.plugins, out)
    if _value(arguments, "--data") is None:
        _check_recorded_data(saved["data"], out)
    limit = recorded_kwargs(saved["env_args"])[1]
    return Options(
        out=out,
        data=saved["data"],
        env=saved["env"],
        max_episode_steps=limit,
        resume=True,
        seeds=tuple(str(seed) for seed in runs),
        settings=config,
    )


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
            raise InputError(
                f"{run} was trained on {source}, which is not on this machine. If you trust {run}, fetch it with "
                f"`dtql-robot data fetch {source}`, or name the data with --data."
            )


def _value(arguments: Sequence[str], flag: str) -> str | None:
    """What follows `flag` on the command line, as "--flag value" or "--flag=value"."""
    spaced = (b for a, b in itertools.pairwise(arguments) if a == flag)
    joined = (a.split("=", 1)[1] for a in arguments if a.startswith(f"{flag}="))
    return next(itertools.chain(spaced, joined), None)


def _typed_env(options: Options) -> str | None:
    """The environment that the user typed.  With --resume or --config it may be what a file says: no reason to import
    code."""
    from_file = (options.resume or options.config is not None) and is_module_id(options.env)
    return None if from_file else options.env


def run(options: Options) -> None:
    """Check the data, train, and print the run folder and the next command."""
    out, seeds = expanded(options.out), parse_seeds(options.seeds)
    if options.data is None:
        nothing = f"; there is no run in {out} to continue" if options.resume else ""
        raise InputError(f"--data is missing{nothing}; pass a demonstration file (see --help).")
    typed = not options.resume and options.config is None  # otherwise it may be a run's own
    if seeds and typed and options.settings.seed not in (Config().seed, *seeds):
        raise InputError(f"--seeds says which seeds to train, and --seed {options.settings.seed} is none of them.")
    if options.init_norm != "keep" and options.init_from is None:
        raise InputError("--init-norm only applies to --init-from; pass that too.")
    if options.cluster is not None or options.cluster_config is not None:
        _on_cluster(options, out, seeds)
        return
    from dtql_robot.api.training import Training, run_training
    from dtql_robot.metrics import overfitting
    from dtql_robot.run_folder import METRICS, read_metrics
    from dtql_robot.training.hardware import peak_memory

    origin = None if options.init_from is None else expanded(options.init_from)
    how = Training(
        out,
        options.settings,
        seeds,
        env=options.env,
        typed_env=_typed_env(options),
        max_episode_steps=options.max_episode_steps,
        resume=options.resume,
        overwrite=options.overwrite,
        init_from=origin,
        init_norm=options.init_norm,
        preset=options.preset,
    )

    def then(cfg: Config) -> None:
        if sentence := overfitting(read_metrics(out / METRICS)):
            print(sentence)
        print(f"trained: {out} (peak memory {peak_memory()})")
        print(f"next:    {shlex.join(_next_words(options, out, cfg))}")

    run_training(options.data, how, say=print, then=then)


def _on_cluster(options: Options, out: Path, seeds: tuple[int, ...]) -> None:
    from dtql_robot.commands.train_seeds import train_seeds
    from dtql_robot.system.cluster import connect

    with connect(options.cluster, options.cluster_config) as cluster:
        assert cluster is not None
        train_seeds(options, out, seeds, cluster)
    print(f"trained: {out}")
    print(f"next:    {shlex.join(_next_words(options, out, options.settings))}")


def _next_words(options: Options, out: Path, cfg: Config) -> list[str]:
    """The command that evaluates the run."""
    added = ",".join(name for _, name in cfg.plugins)
    words = [*([f"{CONSENT}={added}"] if added else []), "dtql-robot", "eval", str(out)]
    words += ["--video", str(out / "rollouts.mp4")]
    if options.preset is not None and (row := paper.row_of(options.preset)) is not None:
        words += ["--episodes", str(row.episodes)]
    if options.env is not None and is_module_id(options.env):  # only what is typed may import a module
        words += ["--env", options.env]
    return words
