"""Trainings and evaluations as separate processes, several at once; what is done already is not done again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dtql_robot.errors import InputError
from dtql_robot.experiments.methods import preset_of
from dtql_robot.experiments.suites import BenchTask
from dtql_robot.presets import PRESETS
from dtql_robot.system.launch import command as launch_command
from dtql_robot.system.launch import safe_environment

if TYPE_CHECKING:
    from dtql_robot.experiments.remote_jobs import Order
    from dtql_robot.system.cluster import Cluster

_GIVEN = {
    **{"--preset": "; name the methods with --methods", "--seed": "; see --seeds", "--seeds": "; see its own --seeds"},
    **{"--data": "; see --files and --data-dir", "--out": "; see its own --out"},
    **dict.fromkeys(("--resume", "--overwrite", "--config", "--init-from", "--cluster", "--cluster-config"), ""),
}
"""Options of `train` that are not for --train-args -> what to use."""


def check_train_args(words: Sequence[str]) -> None:
    """InputError for what is no option of a training, or one that `bench` gives each training itself."""
    bare = [word for word in words if not word.strip("-")]
    if bare:
        raise InputError(f"--train-args has {bare[0]!r}; expected an option, such as --train-args=--steps=2000.")
    own = [word for word in words if word.partition("=")[0] in _GIVEN]
    if own:
        instead = _GIVEN[own[0].partition("=")[0]]
        raise InputError(f"--train-args has {own[0]!r}, which `bench` decides for each run{instead}.")


@dataclass(frozen=True)
class Job:
    """One training and its evaluation.  options: what the size of the suite asks of this method alone."""

    task: BenchTask
    method: str
    seed: int
    data: Path
    folder: Path
    options: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What the table and the progress line call it."""
        return f"{self.task.name}-{self.method}-seed{self.seed}"

    def settings(self, train_args: Sequence[str]) -> list[str]:
        """Options of its training: the method's, the task's, the size's, then train_args."""
        preset = preset_of(self.method, self.task)
        chosen = [f"--preset={preset}"] if preset else []
        if self.task.behaviour and PRESETS.get(preset or "", {}).get("data.behaviour", "auto") == "auto":
            chosen.append(f"--behaviour={self.task.behaviour}")
        return [*chosen, f"--seed={self.seed}", *self.task.options, *self.options, *train_args]


class _Running:
    """The commands under way, so that Ctrl-C reaches them all."""

    def __init__(self) -> None:
        self._lock, self._processes, self._stopped = threading.Lock(), set[subprocess.Popen](), False

    def call(self, arguments: Sequence[str], log: Path, env: dict[str, str]) -> int:
        with open(log, "a") as file:
            with self._lock:
                if self._stopped:
                    return 1
                process = subprocess.Popen(arguments, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=env)
                self._processes.add(process)
            code = process.wait()
        with self._lock:
            self._processes.discard(process)
        return code

    def stop(self) -> None:
        """Training saves its checkpoint.  SIGTERM, because SIGINT is ignored where a shell put us in the background."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.terminate()


def processes(at_once: int | None) -> tuple[int, int]:
    """(jobs at once, threads of each).  None: a job for each CPU core, on a GPU one.  InputError for less than one."""
    from dtql_robot.system.cores import usable_cores
    from dtql_robot.training.hardware import resolve_device

    if at_once is None:
        at_once = 1 if resolve_device("auto").type == "cuda" else usable_cores()
    if at_once < 1:
        raise InputError(f"--jobs is {at_once}; expected at least 1.")
    return at_once, max(1, usable_cores() // at_once)


def run_jobs(
    jobs: Sequence[Job],
    episodes: int,
    at_once: int,
    threads: int,
    train_args: Sequence[str],
    *,
    done: Callable[[Sequence[Job]], object] = lambda _: None,
) -> dict[Job, str]:
    """Run what is not done yet; returns the jobs that failed and why.

    episodes: of each evaluation.  at_once, threads: see `processes`.  train_args: further options of every training.
    done: called with all jobs that are done, after each that ends.
    """
    from dtql_robot.system.progress import progress_bar

    env = {**safe_environment(), "OMP_NUM_THREADS": str(threads)}
    running, failed = _Running(), dict[Job, str]()
    bar = progress_bar("bench", total=len(jobs), unit="run")
    with ThreadPoolExecutor(at_once) as pool:
        futures = {pool.submit(_run_one, job, episodes, train_args, running, env): job for job in jobs}
        try:
            for future in as_completed(futures):
                if reason := future.result():
                    failed[futures[future]] = reason
                elif ended := [job for f, job in futures.items() if f.done() and job not in failed and not f.result()]:
                    done(ended)
                bar.set_postfix_str(futures[future].label, refresh=False)
                bar.update()
        except KeyboardInterrupt:
            running.stop()
            raise
        finally:
            bar.close()
    return failed


def _run_one(job: Job, episodes: int, train_args: Sequence[str], running: _Running, env: dict[str, str]) -> str | None:
    """Train and evaluate one job; returns why it failed, None if it did not."""
    from dtql_robot.run_folder import CHECKPOINT

    if evaluated(job, episodes):
        return None
    job.folder.mkdir(parents=True, exist_ok=True)
    log = job.folder / "bench.log"
    program = launch_command("dtql_robot", end_with_this=True)
    # A finished training is resumed too: it has nothing left to do and costs the reading of its data.
    settings = ["--resume"] if (job.folder / CHECKPOINT).exists() else job.settings(train_args)
    train = [*program, "train", "--out", str(job.folder), "--data", str(job.data), *settings]
    evaluate = [*program, "eval", str(job.folder), "--episodes", str(episodes), "--num-envs", "1"]
    for command in (train, evaluate):
        if running.call(command, log, env) != 0:
            words = log.read_text().strip().splitlines()
            return f"{words[-1] if words else 'no output'} (see {log})"
    return None


def send_jobs(
    jobs: Sequence[Job],
    episodes: int,
    cluster: Cluster,
    out: Path,
    train_args: Sequence[str],
    *,
    done: Callable[[Sequence[Job]], object] = lambda _: None,
) -> dict[Job, str]:
    """`run_jobs` on a cluster.  out: the folder that all jobs' folders are in."""
    from dtql_robot.experiments.remote_jobs import run_orders, sees_folder
    from dtql_robot.system.progress import progress_bar

    shared, failed = sees_folder(cluster, out), dict[Job, str]()
    ended = [job for job in jobs if evaluated(job, episodes)]
    missing = [job for job in jobs if job not in ended]
    orders = [_order(job, episodes, train_args, cluster, shared) for job in missing]
    with progress_bar("bench", total=len(jobs), unit="run", initial=len(ended)) as bar:
        for job, reason in zip(missing, run_orders(cluster, orders, _tell), strict=True):
            if reason:
                failed[job] = reason
            else:
                ended.append(job)
                done([job for job in jobs if job in ended])
            bar.set_postfix_str(job.label, refresh=False)
            bar.update()
    return failed


def _tell(sentence: str) -> None:
    print(f"bench: {sentence}", file=sys.stderr)


def _order(job: Job, episodes: int, train_args: Sequence[str], cluster: Cluster, shared: bool) -> Order:
    """What `_run_one` does, for wherever it is done.  A training that was begun is resumed."""
    from dtql_robot.experiments.remote_jobs import DATA, OUT, Command, Order
    from dtql_robot.experiments.travel import located, read_files
    from dtql_robot.run_folder import CHECKPOINT

    words = ("train", "--out", OUT, "--data", DATA)
    train = Command("dtql_robot", (*words, *job.settings(train_args)), (*words, "--resume"))
    evaluate = Command("dtql_robot", ("eval", OUT, "--episodes", str(episodes), "--workers", "1"))
    begun = (job.folder / CHECKPOINT).exists()
    files = {} if shared or not begun else read_files(job.folder)
    threads, folder = max(1, int(cluster.settings.cpus)), str(job.folder.resolve())
    return Order(folder, located(str(job.data)), (train, evaluate), threads, shared, files)


def evaluated(job: Job, episodes: int) -> bool:
    """Whether the job was evaluated on so many episodes or more: a run folder keeps the evaluation of most."""
    from dtql_robot.run_folder import RESULTS, read_results

    try:
        return len(read_results(job.folder / RESULTS)["per_episode"]) >= episodes
    except InputError:  # none yet, or damaged: evaluated again
        return False
