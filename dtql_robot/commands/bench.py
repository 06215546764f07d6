"""`dtql-robot bench`: tasks x methods x training seeds into one table and one figure."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional, UseAppendAction

from dtql_robot.commands import train
from dtql_robot.commands.bench_data import check_given, collect_data
from dtql_robot.commands.words import parse_options, parse_seeds
from dtql_robot.datasets.published.fetch import fetch
from dtql_robot.datasets.published.names import is_published
from dtql_robot.errors import InputError
from dtql_robot.experiments.behaviour import behaviour_scores
from dtql_robot.experiments.continued import check_continued
from dtql_robot.experiments.estimate import Work, estimate, in_words
from dtql_robot.experiments.jobs import Job, check_train_args, evaluated, processes, run_jobs, send_jobs
from dtql_robot.experiments.methods import METHODS, PAPER_METHODS, preset_of
from dtql_robot.experiments.own import check_environment, own_tasks
from dtql_robot.experiments.records import TABLES, write_tables
from dtql_robot.experiments.suites import OWN, SIZES, SUITES, BenchTask, Size, suite
from dtql_robot.system.cluster import Cluster, connect
from dtql_robot.system.files import check_writable, expanded
from dtql_robot.system.locks import locked


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train and evaluate every method on every task of a suite, with several training seeds.

    Suites: own (your demonstrations, with --data), smoke (a check of the installation, two minutes), fetch, mixed
    (demonstrations of mixed quality), metaworld, manipulation, locomotion (100,000 steps of released policies, by
    normalized score, beside the return of the data), antmaze (the same of 100,000 scripted steps in D4RL's umaze, to
    the goal and roaming), ogbench (five tasks in each of four scenes), robomimic (lift, can and square, by several
    people), d4rl (Adroit and locomotion, by normalized score) and paper (the 20 rows of DTQL's paper by its own
    settings, their KL partners, the default recipe and other methods, beside the return of the data). The last four
    show published results beside ours. ogbench first records its data, 150,000 steps per scene; the data of the others
    is downloaded, or read from --data-dir.
    ogbench-full, robomimic-full, d4rl-full and paper-full use the published data and number of updates; ogbench-smoke
    takes a minute. An estimate of the time is printed first. Each finished run is added to table.md, table.csv and
    figure.png in --out, and to results/TASK-METHOD-seedN.json. After an interruption, the same command continues.

    Examples:
      dtql-robot bench own --data demos.hdf5
      dtql-robot bench fetch --methods dtql mse-bc diffusion-bc --seeds 0..2
    """

    suite: Positional[str]
    """Name of the suite."""
    data: tuple[str, ...] = ()
    """Of the suite own: your demonstrations, as `train --data` takes them. Several data sets are several tasks; A,B is
    one."""
    env: str | None = None
    """Of the suite own: the environment to evaluate in. Default: the one that the data names."""
    out: Path | None = None
    """Folder to write. Default: runs/bench-SUITE."""
    tasks: tuple[str, ...] = ()
    """Run only these tasks of the suite."""
    methods: tuple[str, ...] = ()
    """Methods to compare: dtql (the default recipe), and no-q, mse-bc-successes, mse-bc, diffusion-bc, tr-only, kl, iql
    and idql from the same parts; for the paper's own tasks, locomotion and antmaze also paper and paper-kl. Default:
    all but these; in own, dtql, no-q, mse-bc-successes and mse-bc; in smoke, dtql and mse-bc; in ogbench, robomimic and
    d4rl, dtql, mse-bc, diffusion-bc, idql and iql; in paper, paper, paper-kl, dtql, iql, idql and diffusion-bc; in
    locomotion, dtql, paper, iql, idql, mse-bc and diffusion-bc; in antmaze, dtql, paper, iql and mse-bc."""
    seeds: tuple[str, ...] = ()
    """Training seeds: 0..2, 0 1 2 or 0,1,2. Default: 0 1 2; in smoke, 0."""
    episodes: int | None = None
    """Number of evaluation episodes per run, from the same start states for all. Default: 100; in smoke and locomotion,
    20; in antmaze, 50; in paper, 10."""
    files: tuple[str, ...] = ()
    """Demonstration files for tasks that are not collected, as TASK=PATH, such as
    door-human=door-v0_demos_clipped.hdf5."""
    data_dir: Path | None = None
    """Folder to look in for published data sets before they are downloaded: files by their published names."""
    curve_points: int | None = None
    """Evaluate each method this many times while it is trained, at equal distances, and draw the results against the
    updates: curves.png and curves.csv. Each evaluation plays 20 episodes, or --train-args=--eval-episodes=N. Runs that
    are finished already get no curve."""
    jobs: int | None = None
    """Number of runs at once. Default: one per CPU core; one on a GPU."""
    cluster: str | None = None
    """Where to train and evaluate: local (Ray, started here), auto (the Ray cluster that this machine is
    part of), the address of a Ray cluster, or slurm. Default: processes of this machine."""
    cluster_config: Path | None = None
    """JSON file with what a task may use of the cluster, and with options for Slurm (docs/scale.md)."""
    train_args: UseAppendAction[tuple[str, ...]] = ()
    """An option to pass to every training. Repeat it for more: --train-args=--steps=2000
    --train-args=--batch-size=64."""


INTERRUPTED = "What is recorded and trained is saved; the same command continues."


def run(options: Options) -> None:
    """Run what is missing of the suite and write its table after each run.  InputError before anything runs."""
    out = expanded(options.out or Path("runs") / f"bench-{options.suite}")
    tasks, data = _choose(options, out)
    for task in tasks:
        if data[task.name] != _data_of(task, out):
            check_given(task, data[task.name])
        if options.suite == OWN and not task.by_name:
            check_environment(str(data[task.name]), options.env)
    size = SIZES.get(options.suite, Size())
    episodes = size.episodes if options.episodes is None else options.episodes
    if episodes < 1:
        raise InputError(f"--episodes must be 1 or more, found {episodes}.")
    check_train_args(options.train_args)
    at_once = processes(options.jobs)
    train_args = (*size.options, *options.train_args)
    own = functools.partial(_own, size=size)
    jobs = [
        Job(task, method, seed, data[task.name], out / "runs" / task.name / method / f"seed{seed}", own(method))
        for seed in parse_seeds(options.seeds) or size.seeds
        for task in tasks
        for method in options.methods or size.methods
    ]
    works = _works(jobs, train_args, options.curve_points)
    check_continued(works)
    with locked(out), connect(options.cluster, options.cluster_config) as cluster:
        check_writable(out / "table.md")
        for task in tasks:
            if task.by_name and str(data[task.name]) == task.by_name:
                fetch(task.by_name)
                if options.suite == OWN:
                    check_environment(task.by_name, options.env)
            collect_data(task, data[task.name])
        behaviour = (
            {t.name: behaviour_scores(t, data[t.name]) for t in tasks} if set(size.methods) & set(PAPER_METHODS) else {}
        )
        _run(works, out, episodes, at_once, train_args, behaviour, cluster)


def _works(jobs: Sequence[Job], train_args: Sequence[str], curve_points: int | None) -> dict[Job, Work]:
    """What each training will be told, with its evaluations for a curve of so many points."""
    works = {job: _work(job, train_args) for job in jobs}
    if curve_points is None:
        return works
    if curve_points < 1:
        raise InputError(f"--curve-points must be 1 or more, found {curve_points}.")
    every = {job: -(-work.settings.updates // curve_points) for job, work in works.items()}
    watched = [dataclasses.replace(j, options=(*j.options, f"--eval-every={every[j]}")) for j in jobs]
    return {job: _work(job, train_args) for job in watched}


def _own(method: str, size: Size) -> tuple[str, ...]:
    """Options that the size of the suite has for this method alone."""
    if method not in PAPER_METHODS or size.pretraining is None:
        return ()
    return (f"--pretrain-steps={size.pretraining}",)


def _run(
    works: dict[Job, Work],
    out: Path,
    episodes: int,
    processes: tuple[int, int],
    train_args: Sequence[str],
    behaviour: Mapping[str, Sequence[float]],
    cluster: Cluster | None,
) -> None:
    """Run what is missing and write the tables.  processes: how many at once, and the threads of each."""
    jobs, (at_once, threads) = list(works), processes
    missing = [job for job in jobs if not evaluated(job, episodes)]
    print(f"{len(missing)} of {len(jobs)} runs to do, {at_once} at once", flush=True)
    if missing:
        seconds = estimate([works[job] for job in missing], episodes, at_once, threads)
        print(f"this takes up to {in_words(seconds)}; {out / 'table.md'} grows as runs end", flush=True)
    tables = functools.partial(write_tables, out=out, behaviour=behaviour)
    if cluster is None:
        failed = run_jobs(jobs, episodes, at_once, threads, train_args, done=tables)
    else:
        failed = send_jobs(jobs, episodes, cluster, out, train_args, done=tables)
    done = [job for job in jobs if job not in failed]
    if done:
        print(tables(done), end="")
        for name in TABLES:
            if (out / name).exists():
                print(f"  {out / name}")
    for job, reason in failed.items():
        print(f"failed: {job.label}: {reason}", file=sys.stderr)
    if failed:
        sys.exit(f"{len(failed)} of {len(jobs)} runs failed; run the same command again to repeat them.")


def _work(job: Job, train_args: Sequence[str]) -> Work:
    """What the job's training will be told, as its own command line reads it."""
    words = ["--out", str(job.folder), "--data", str(job.data), *job.settings(train_args)]
    parsed = parse_options(train, words, train.defaults(words), "dtql-robot train")
    return Work(job.task.name, job.method, job.data, parsed.settings, parsed.env)


def _choose(options: Options, out: Path) -> tuple[list[BenchTask], dict[str, Path]]:
    """The tasks asked for and where each one's demonstrations are or will be."""
    if options.suite not in SUITES and (is_published(options.suite) or Path(options.suite).exists()):
        raise InputError(
            f"{options.suite!r} is no suite; to compare methods on it: bench {OWN} --data {options.suite}."
        )
    own = own_tasks(options.data, options.env) if options.suite == OWN else {}
    if (options.data or options.env is not None) and options.suite != OWN:
        raise InputError(f"--data and --env are for the suite {OWN}; the tasks of {options.suite} have their own.")
    known = {task.name: task for task in (*suite(options.suite), *own)}
    _require_known("--tasks", options.tasks, known)
    _require_known("--methods", options.methods, {**METHODS, **PAPER_METHODS})
    given = {task.name: path for task, path in own.items()} | dict(_name_and_path(entry) for entry in options.files)
    _require_known("--files", tuple(given), known)
    tasks = [known[name] for name in options.tasks or known]
    for task in tasks:
        for method in options.methods:
            preset_of(method, task)
    if options.data_dir is not None:
        if not any(task.by_name for task in tasks):
            raise InputError(f"--data-dir is for published data sets; the tasks of {options.suite} use none.")
        given = {t.name: _found(t, expanded(options.data_dir)) for t in tasks if t.by_name} | given
    for task in tasks:
        if task.data is None and not task.by_name and task.name not in given:
            raise InputError(
                f"the task {task.name} learns from a file that `bench` cannot collect: {task.source}. "
                f"Pass it with --files {task.name}=PATH, or choose other --tasks."
            )
    return tasks, {t.name: given.get(t.name, _data_of(t, out)) for t in tasks}


def _found(task: BenchTask, folder: Path) -> Path:
    """The task's published file in a folder of the user's: under its place there, or its own name.  Else InputError."""
    from dtql_robot.datasets.published.names import published_file, split_name

    name = split_name(task.by_name)
    assert name is not None
    file = published_file(*name)
    wanted = dict.fromkeys([file.kept, f"{file.scheme}/{file.kept}", file.path, Path(file.path).name])
    if file.scheme == "robomimic":  # each task's file has the same name
        wanted = dict.fromkeys([file.kept, f"robomimic/{file.kept}", file.path])
    found = next((folder / place for place in wanted if (folder / place).is_file()), None)
    if found is None:
        raise InputError(
            f"--data-dir {folder} contains no {' or '.join(wanted)}, which the task {task.name} learns from; "
            "put it there, or choose other --tasks."
        )
    return found


def _data_of(task: BenchTask, out: Path) -> Path:
    """Where the task's data is or will be; the published data set's name where it comes by name."""
    return Path(task.by_name) if task.by_name else out / "data" / (task.file or f"{task.name}.hdf5")


def _require_known(flag: str, names: Sequence[str], known: Any) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"{flag}: there is no {', '.join(unknown)}; choose from {', '.join(known)}.")


def _name_and_path(entry: str) -> tuple[str, Path]:
    name, equals, given = entry.partition("=")
    path = expanded(Path(given))  # a shell leaves the ~ of NAME=~/FILE as it is
    if not equals or not path.is_file():
        raise InputError(f"--files takes NAME=PATH with an existing file, found {entry!r}.")
    return name, path
