"""`train --seeds --cluster`: each seed is a training by itself, wherever there is room for it."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path

from dtql_robot.checkpoint import step_of
from dtql_robot.commands.train import Options
from dtql_robot.errors import InputError
from dtql_robot.experiments.remote_jobs import DATA, OUT, Command, Order, run_orders, sees_folder
from dtql_robot.experiments.travel import located, read_files
from dtql_robot.run_folder import CHECKPOINT
from dtql_robot.system.cluster import Cluster
from dtql_robot.system.workers import WorkerError


def train_seeds(options: Options, out: Path, seeds: tuple[int, ...], cluster: Cluster) -> None:
    """Train what is not trained yet.  InputError before anything is sent; WorkerError where one failed."""
    from dtql_robot.system.progress import progress_bar
    from dtql_robot.training.claim import claimed

    if not seeds:
        raise InputError("--cluster trains several seeds, each by itself; name them with --seeds.")
    if options.overwrite:
        raise InputError(f"--cluster replaces no runs; remove {out}, or choose another --out.")
    with claimed(out, options.settings.seed, seeds, resume=options.resume) as folders:
        missing = [seed for seed, folder in folders.items() if _done(folder) < options.settings.steps]
    shared = sees_folder(cluster, out)
    orders = [_order(options, seed, folders[seed], cluster, shared) for seed in missing]
    failed = {}
    with progress_bar("train", total=len(seeds), unit="seed", initial=len(seeds) - len(missing)) as bar:
        for seed, reason in zip(missing, run_orders(cluster, orders, _tell), strict=True):
            if reason:
                failed[seed] = reason
            bar.update()
    if failed:
        seed, reason = next(iter(failed.items()))
        raise WorkerError(
            f"{len(failed)} of {len(seeds)} seeds were not trained (seed {seed}: {reason}); the same "
            "command with --resume goes on."
        )


def _done(folder: Path) -> int:
    return step_of(folder / CHECKPOINT) or 0


def _tell(sentence: str) -> None:
    print(f"train: {sentence}", file=sys.stderr)


def _order(options: Options, seed: int, folder: Path, cluster: Cluster, shared: bool) -> Order:
    threads = max(1, int(cluster.settings.cpus))
    mine = replace(options, seeds=(), cluster=None, cluster_config=None, settings=replace(options.settings, seed=seed))
    command = Command("dtql_robot.commands.seed_run", (OUT, DATA), text=pickle.dumps(mine))
    files = read_files(folder) if folder.exists() and not shared else {}
    return Order(str(folder.resolve()), located(str(options.data)), (command,), threads, shared, files)
