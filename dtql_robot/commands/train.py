"""`dtql-robot train`: demonstrations into a run folder."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dtql_robot.config import Config
from dtql_robot.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a one-step policy by Diffusion Trusted Q-Learning.

    The run folder receives config.json, metrics.csv and checkpoint.pt. Ctrl-C saves; --resume goes on.
    Example: dtql-robot train --data low_dim.hdf5 --out runs/lift --steps 20000
    """

    out: Path
    """Run folder to write."""
    data: str | None = None
    """robomimic HDF5, Minari folder or main_data.hdf5, D4RL HDF5, or minari:NAMESPACE/ID."""
    env: str | None = None
    """Environment to evaluate in, e.g. AdroitHandDoor-v1. Default: the one that the data names."""
    resume: bool = False
    """Continue the run in --out with its settings, up to --steps."""
    config: Config = field(default_factory=Config)


def defaults(arguments: Sequence[str]) -> Options | None:
    """With --resume, the run's own settings are the defaults."""
    if "--resume" not in arguments:
        return None
    from dtql_robot import checkpoint

    out = next((b for a, b in itertools.pairwise(arguments) if a == "--out"), None)
    out = out or next((a.split("=", 1)[1] for a in arguments if a.startswith("--out=")), None)
    if out is None:
        return None
    saved = checkpoint.read_config(Path(out))
    config = Config.from_dict(saved["config"])
    return Options(out=Path(out), data=saved["data"], env=saved["env"], resume=True, config=config)


def run(options: Options) -> None:
    if options.data is None:
        raise InputError("--data is missing; give a demonstration file (see --help).")
    from dtql_robot import train as training
    from dtql_robot.commands.fit import check_fit
    from dtql_robot.datasets import inspect, load
    from dtql_robot.datasets.buffer import choose_obs_keys

    cfg = options.config
    demos = load(options.data, obs_keys=cfg.data.obs_keys or None, filter_key=cfg.data.filter_key)
    note = check_fit(demos, options.env, choose_obs_keys(demos, cfg.data.obs_keys))
    print(training.headline(demos, cfg))
    if note:
        print(note)
    run = training.train(demos, options.out, cfg, env=options.env, resume=options.resume, summary=inspect(demos))
    print(f"trained: {run}\nnext:    dtql-robot eval {run} --video {run / 'rollouts.mp4'}")
