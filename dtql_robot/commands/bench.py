"""`dtql-robot bench`: tasks x methods x training seeds into one table and one figure."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional, UseAppendAction

from dtql_robot.errors import InputError
from dtql_robot.experiments.suites import METHODS, BenchTask, suite


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train and evaluate every method on every task of a suite, with several training seeds.

    Interrupted, it goes on where it stopped when called again. Writes table.md, table.csv, figure.png, and one small
    results/TASK-METHOD-seedN.json a run into --out. Suites: smoke, fetch, metaworld, manipulation.
    Example: dtql-robot bench fetch --methods dtql mse-bc diffusion-bc --seeds 0 1 2
    """

    suite: Positional[str]
    """Name of the suite."""
    out: Path | None = None
    """Folder to write. Default: runs/bench-SUITE."""
    tasks: tuple[str, ...] = ()
    """Only these tasks of the suite."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods to compare: dtql (the default recipe) and the baselines made from the same parts."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds."""
    episodes: int = 100
    """Evaluation episodes of each run; the start states are the same for all."""
    files: tuple[str, ...] = ()
    """Demonstration files of tasks that are not collected, as NAME=PATH, e.g. door-human=door-v0_demos_clipped.hdf5."""
    jobs: int | None = None
    """Runs at once. Default: one per CPU core; on a GPU one."""
    train_args: UseAppendAction[tuple[str, ...]] = ()
    """A further option for every training, once for each: --train-args=--steps=2000 --train-args=--batch-size=64."""


@dataclass(frozen=True)
class Job:
    """One training and its evaluation."""

    task: BenchTask
    method: str
    seed: int
    data: Path
    folder: Path

    @property
    def label(self) -> str:
        return f"{self.task.name}-{self.method}-seed{self.seed}"


def run(options: Options) -> None:
    out = options.out or Path("runs") / f"bench-{options.suite}"
    tasks, data = _choose(options, out)
    jobs = [
        Job(task, method, seed, data[task.name], out / "runs" / task.name / method / f"seed{seed}")
        for seed in options.seeds
        for task in tasks
        for method in options.methods
    ]
    for task in tasks:
        _collect(task, data[task.name])
    failed = _run_all(jobs, options)
    done = [job for job in jobs if job not in failed]
    if done:
        _write(done, out)
    for job, reason in failed.items():
        print(f"failed: {job.label}: {reason}", file=sys.stderr)
    if failed:
        sys.exit(f"{len(failed)} of {len(jobs)} runs failed; call the same command again to repeat them.")


def _choose(options: Options, out: Path) -> tuple[list[BenchTask], dict[str, Path]]:
    """The tasks asked for and where each one's demonstrations are or will be."""
    known = {task.name: task for task in suite(options.suite)}
    _require_known("--tasks", options.tasks, known)
    _require_known("--methods", options.methods, METHODS)
    given = dict(_name_and_path(entry) for entry in options.files)
    _require_known("--files", tuple(given), known)
    tasks = [known[name] for name in options.tasks or known]
    for task in tasks:
        if task.data is None and task.name not in given:
            raise InputError(
                f"the task {task.name} learns from a file that is not collected: {task.source}. "
                f"Give it with --files {task.name}=PATH, or choose others with --tasks."
            )
    return tasks, {t.name: given.get(t.name, out / "data" / f"{t.name}.hdf5") for t in tasks}


def _require_known(flag: str, names: Sequence[str], known: Any) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"{flag}: there is no {', '.join(unknown)}; choose from {', '.join(known)}.")


def _name_and_path(entry: str) -> tuple[str, Path]:
    name, equals, path = entry.partition("=")
    if not equals or not Path(path).is_file():
        raise InputError(f"--files takes NAME=PATH with an existing file, found {entry!r}.")
    return name, Path(path)


def _collect(task: BenchTask, path: Path) -> None:
    if task.data is None or path.exists():
        return
    from dtql_robot.datasets import save_robomimic
    from dtql_robot.envs.collection.collect import collect

    path.parent.mkdir(parents=True, exist_ok=True)
    demos = collect(**dataclasses.asdict(task.data))
    save_robomimic(demos, path)


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


def _run_all(jobs: Sequence[Job], options: Options) -> dict[Job, str]:
    """Run what is not done yet; returns the jobs that failed and why."""
    from dtql_robot.system.progress import progress_bar
    from dtql_robot.system.workers import cpu_count
    from dtql_robot.training.hardware import resolve_device

    at_once = options.jobs or (1 if resolve_device("auto").type == "cuda" else cpu_count())
    if at_once < 1:
        raise InputError(f"--jobs is {at_once}; expected at least 1.")
    env = {**os.environ, "OMP_NUM_THREADS": str(max(1, cpu_count() // at_once))}
    running, failed = _Running(), dict[Job, str]()
    bar = progress_bar("bench", total=len(jobs), unit="run")
    with ThreadPoolExecutor(at_once) as pool:
        futures = {pool.submit(_run_one, job, options, running, env): job for job in jobs}
        try:
            for future in as_completed(futures):
                if reason := future.result():
                    failed[futures[future]] = reason
                bar.set_postfix_str(futures[future].label, refresh=False)
                bar.update()
        except KeyboardInterrupt:
            running.stop()
            raise
        finally:
            bar.close()
    return failed


def _run_one(job: Job, options: Options, running: _Running, env: dict[str, str]) -> str | None:
    """Train and evaluate one job; returns why it failed, None if it did not."""
    from dtql_robot import checkpoint

    if _episodes(job.folder / checkpoint.RESULTS) == options.episodes:
        return None
    job.folder.mkdir(parents=True, exist_ok=True)
    log = job.folder / "bench.log"
    program = [sys.executable, "-m", "dtql_robot"]
    # A finished training is resumed too: it has nothing left to do and costs the reading of its data.
    settings = [f"--preset={preset}"] if (preset := METHODS[job.method]) else []
    settings += [f"--seed={job.seed}", *job.task.options, *options.train_args]
    if (job.folder / checkpoint.CHECKPOINT).exists():
        settings = ["--resume"]
    train = [*program, "train", "--out", str(job.folder), "--data", str(job.data), *settings]
    evaluate = [*program, "eval", str(job.folder), "--episodes", str(options.episodes), "--num-envs", "1"]
    for command in (train, evaluate):
        if running.call(command, log, env) != 0:
            words = log.read_text().strip().splitlines()
            return f"{words[-1] if words else 'no output'} (see {log})"
    return None


def _episodes(results: Path) -> int | None:
    return len(json.loads(results.read_text())["per_episode"]) if results.is_file() else None


def _write(jobs: Sequence[Job], out: Path) -> None:
    """table.md, table.csv, figure.png and a small file a run."""
    from dtql_robot.experiments.table import as_csv, draw, gather, markdown
    from dtql_robot.system.files import write_text

    (out / "results").mkdir(exist_ok=True)
    records = {job.label: _compact(job) for job in jobs}
    for label, record in records.items():
        write_text(out / "results" / f"{label}.json", json.dumps(record) + "\n")
    cells = gather(records.values())
    write_text(out / "table.md", markdown(cells))
    write_text(out / "table.csv", as_csv(cells))
    draw(cells, out / "figure.png")
    print(markdown(cells), end="")
    for name in ("table.md", "table.csv", "figure.png", "results"):
        print(f"  {out / name}")


def _compact(job: Job) -> dict[str, Any]:
    """A run's config and results, small enough to keep: an episode is [seed, success, steps until success]."""
    from dtql_robot import checkpoint
    from dtql_robot.training.loop import read_metrics

    results = json.loads((job.folder / checkpoint.RESULTS).read_text())
    columns = ("seed", "success", "time_to_success")
    results["per_episode"] = [[int(e["seed"]), int(e["success"]), e["time_to_success"]] for e in results["per_episode"]]
    settings = checkpoint.read_config(job.folder) | {"data": job.data.name}
    rows = read_metrics(job.folder / checkpoint.METRICS)
    return {
        "task": job.task.name,
        "method": job.method,
        "train_seconds": rows[-1]["seconds"],
        "results": results | {"per_episode_columns": list(columns)},
        "run": settings,
    }
