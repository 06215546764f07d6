"""`dtql-robot demo`: the main job from nothing to a report."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from dtql_robot.commands import collect, train
from dtql_robot.commands import eval as evaluation
from dtql_robot.config import Config
from dtql_robot.run_folder import CHECKPOINT, read_config

TASK = "FetchPickAndPlace-v4"


INTERRUPTED = "What was finished is kept; the same command continues."


@dataclass(frozen=True, kw_only=True)
class Options:
    """Collect, train, evaluate and report on FetchPickAndPlace, with the default recipe.

    After an interruption, the same command continues.
    """

    out: Path = Path("runs/demo")
    """Run folder to write."""
    demos: int = 200
    """Number of demonstrations to collect."""
    steps: int = 1_000
    """Training updates. Fewer than in `train`, since these demonstrations are many and clean."""
    episodes: int = 200
    """Number of evaluation episodes."""
    seed: int = 0
    """Seed for demonstrations, training and evaluation."""
    overwrite: Annotated[bool, arg(aliases=("--fresh",))] = False
    """Start over: delete --out first."""


def run(options: Options) -> None:
    """Collect, train, evaluate and report in one go."""
    try:
        _run(options)
    except KeyboardInterrupt as error:
        error.__notes__ = []  # type: ignore[attr-defined]  # how to go on with `train` alone is not how the demo goes on
        raise


def _run(options: Options) -> None:
    start = time.perf_counter()
    out, data = options.out, options.out / "demos.hdf5"
    if options.overwrite and out.exists():
        read_config(out)  # only ever delete a run folder
        shutil.rmtree(out)
    if not data.exists():
        print(f"[1/3] collecting {options.demos} demonstrations of {TASK}", flush=True)
        out.mkdir(parents=True, exist_ok=True)
        collect.run(collect.Options(task=TASK, out=data, episodes=options.demos, seed=options.seed))
    resume = (out / CHECKPOINT).exists()
    print(f"[2/3] {'continuing' if resume else 'training'} DTQL", flush=True)
    cfg = Config(steps=options.steps, seed=options.seed)
    train.run(train.Options(out=out, data=str(data), resume=resume, settings=cfg))
    print(f"[3/3] evaluating on {options.episodes} unseen start states", flush=True)
    evaluation.run(
        evaluation.Options(run=out, episodes=options.episodes, seed=options.seed, video=out / "rollouts.mp4")
    )
    print(f"the whole demo took {time.perf_counter() - start:.0f} s; open {out / 'report.html'}")
