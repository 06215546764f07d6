"""`dtql-robot collect`: scripted demonstrations into a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from dtql_robot.commands.words import parse_names
from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.envs.collection.collect import Recording
    from dtql_robot.envs.collection.oracle_plan import OraclePlan
    from dtql_robot.envs.collection.plan import Plan
    from dtql_robot.system.cluster import Finished
    from dtql_robot.types import Demonstrations, Episode

_OF_EXPERTS = ("noise", "record", "lapses", "successes_only", "cameras", "size")  # options of our own scripts alone


@dataclass(frozen=True, kw_only=True)
class Options:
    """Record demonstrations by a scripted expert in simulation.

    The amount of action noise varies between episodes, so that the file mixes clean and clumsy demonstrations.
    OGBench scenes are recorded with OGBench's own oracles: episodes of 1000 steps without a task, as in its datasets.
    Examples: dtql-robot collect FetchPickAndPlace-v4 --episodes 200 --out demos/pick.hdf5
              dtql-robot collect FetchPickAndPlace-v4 --cameras front,wrist --size 84 --out demos/pixels.hdf5
              dtql-robot collect ogbench:cube-double-v0 --kind play --episodes 1000 --out cube-double-play-v0.npz
    """

    task: Positional[str]
    """FetchReach-v4, FetchPush-v4, FetchPickAndPlace-v4, robosuite:Lift, a task such as metaworld:pick-place-v3, or an
    OGBench scene such as ogbench:cube-single-v0."""
    out: Path
    """File (robomimic, ogbench) or folder (minari) to write."""
    episodes: int = 200
    """Number of demonstrations to record."""
    format: Literal["auto", "robomimic", "minari", "ogbench"] = "auto"
    """Format of the output. auto: ogbench if --out ends in .npz, otherwise robomimic."""
    kind: Literal["play", "noisy"] | None = None
    """For OGBench scenes. play: follow plans with smooth noise. noisy: react to the state, with a noise level drawn per
    episode and some random actions. Default: play. The options below for noise, lapses, successes and cameras do not
    apply."""
    steps: int | None = None
    """For OGBench scenes: episode length. Default: 1000, as in OGBench's datasets."""
    seed: int = 0
    """Seed for start states and noise. Evaluation never uses these start states, whatever its seed."""
    noise: float = 0.3
    """Largest standard deviation of the action noise. Each episode draws its own, from 0 to this."""
    record: Literal["executed", "intended"] = "executed"
    """Which action to record. executed: the noisy one that the robot executed. intended: the expert's own, before the
    noise; easier to learn from, but replaying it does not lead to the same states."""
    lapses: float = 0.0
    """Fraction of episodes, 0 to 1, in which the demonstrator fails on purpose: it stops and drifts, never closes the
    gripper, or goes back and forth. Gives data of mixed quality."""
    successes_only: bool = False
    """Drop failed episodes, and record until there are enough successful ones."""
    cameras: tuple[str, ...] = ()
    """Cameras whose images to record, as observations <camera>_image. Fetch tasks have front and wrist."""
    size: int = 84
    """Height and width of the images, in pixels."""
    workers: int | None = None
    """Number of simulators to run at once; the data does not depend on it. Default: one per CPU core."""
    worker_timeout: float = 300.0
    """Seconds that an episode may take before its simulator is replaced and the episode recorded again."""
    cluster: str | None = None
    """Where to record the episodes: local (Ray, started here), auto (the Ray cluster that this machine is
    part of), the address of a Ray cluster, or slurm. Default: processes of this machine."""
    cluster_config: Path | None = None
    """JSON file with what a task may use of the cluster, and with options for Slurm (docs/scale.md)."""
    overwrite: bool = False
    """Replace --out if it exists."""
    resume: bool = False
    """Continue an interrupted collection: record the episodes that are missing from --out."""


def run(options: Options) -> None:
    """Record the demonstrations and write them.  InputError for a task without a script."""
    from dtql_robot.datasets import format_summary, inspect
    from dtql_robot.envs.collection.collect import Recording
    from dtql_robot.system.cluster import connect
    from dtql_robot.system.files import expanded
    from dtql_robot.system.locks import locked
    from dtql_robot.system.workers import WorkerError

    options = replace(options, out=expanded(options.out))
    plan = _plan(options)
    with locked(options.out), connect(options.cluster, options.cluster_config) as cluster:
        recording = Recording(plan, _recorded(options, plan))
        finished = None if cluster is None else _finished(options, plan)
        try:
            recording.run(workers=options.workers, timeout=options.worker_timeout, cluster=cluster, finished=finished)
        except BaseException:  # Ctrl-C above all: what has been recorded is worth keeping, whatever stopped the rest
            _keep(recording, options)
            raise
        _save(recording.demonstrations(), options)
        if finished is not None:
            finished.remove()
    print(format_summary(inspect(options.out)))
    if recording.missing:
        raise WorkerError(_missing_text(recording.missing))


def _plan(options: Options) -> Plan | OraclePlan:
    """The plan, after all that could stop it from being written has been looked for."""
    from dtql_robot.datasets.formats.minari_write import minari_id
    from dtql_robot.system.files import check_writable

    if options.out.exists() and not (options.overwrite or options.resume):
        raise InputError(f"{options.out} exists already; choose another --out, or add --overwrite or --resume.")
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers must be 1 or more, found {options.workers}.")
    if not options.worker_timeout > 0:
        raise InputError(f"--worker-timeout must be above 0 seconds, found {options.worker_timeout:g}.")
    plan = _oracle_plan(options) if options.task.startswith("ogbench:") else _expert_plan(options)
    layout = _layout(options)
    if layout == "ogbench" and options.out.suffix != ".npz":
        raise InputError(f"{options.out} must end in .npz, as OGBench's files do.")
    if layout == "minari":
        minari_id(options.out)  # a name that Minari refuses is told before anything is recorded
    else:
        check_writable(options.out)
    return plan


def _finished(options: Options, plan: Plan | OraclePlan) -> Finished:
    """Episodes from a cluster are kept as they come, for a second start where this one is killed."""
    from dtql_robot.system.cluster import Finished

    return Finished.beside(options.out, plan.to_dict())


def _layout(options: Options) -> str:
    if options.format != "auto":
        return options.format
    return "ogbench" if options.out.suffix == ".npz" else "robomimic"


def _expert_plan(options: Options) -> Plan:
    from dtql_robot.envs.collection.plan import Plan

    for name in ("kind", "steps"):
        if getattr(options, name) is not None:
            raise InputError(
                f"--{name} is for OGBench's scenes (ogbench:cube-single-v0); leave it out for {options.task}."
            )
    names = ("task", "episodes", "seed", "noise", "record", "lapses", "successes_only", "size")
    return Plan(cameras=parse_names(options.cameras), **{name: getattr(options, name) for name in names})


def _oracle_plan(options: Options) -> OraclePlan:
    """InputError for an option that OGBench's recordings do not have."""
    from dtql_robot.envs.collection.oracle_plan import STEPS, OraclePlan

    for option in fields(Options):
        name = option.name
        if name in _OF_EXPERTS and getattr(options, name) != option.default:
            raise InputError(
                f"--{name.replace('_', '-')} does not apply to OGBench's oracles, whose noise is that of "
                "its published data; see --kind."
            )
    steps = STEPS if options.steps is None else options.steps
    return OraclePlan(options.task, options.kind or "play", options.episodes, options.seed, steps)


def _recorded(options: Options, plan: Plan | OraclePlan) -> tuple[Episode, ...]:
    """With --resume the episodes that --out holds already; none where it is not there yet."""
    if not (options.resume and options.out.exists()):
        return ()
    from dtql_robot.datasets.loader import read_source

    keys = tuple(k for k, stored in read_source(options.out).available.items() if stored.is_numeric)
    demos = read_source(options.out, obs_keys=keys, cached=False).demos
    plan.check_continues(demos.attrs, options.out)
    return demos.episodes[: plan.episodes]


def _save(demos: Demonstrations, options: Options) -> None:
    from dtql_robot.datasets import save_minari, save_ogbench, save_robomimic

    save = {"minari": save_minari, "ogbench": save_ogbench, "robomimic": save_robomimic}[_layout(options)]
    save(demos, options.out, overwrite=options.overwrite or options.resume)


def _keep(recording: Recording, options: Options) -> None:
    """Write what there is of a collection that stopped, and say so."""
    if not recording.episodes:
        return
    _save(recording.demonstrations(), options)
    count, wanted = len(recording.episodes), recording.plan.episodes
    print(
        f"\nkept: {count} of {wanted} episodes in {options.out}; the same command with --resume records the others.",
        file=sys.stderr,
    )


def _missing_text(missing: Mapping[int, str]) -> str:
    """The sentence about episodes that could not be recorded."""
    number, reason = next(iter(missing.items()))
    names = ", ".join(map(str, list(missing)[:8])) + (", ..." if len(missing) > 8 else "")
    return f"{len(missing)} episodes could not be recorded and are missing (number {names}); number {number}: {reason}"
