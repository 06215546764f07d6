"""`dtql-robot collect`: episodes of scripts and policies into a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from dtql_robot.commands.recorded import read_recorded
from dtql_robot.commands.words import parse_names
from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.envs.collection.collect import Recording
    from dtql_robot.envs.collection.oracle_plan import OraclePlan
    from dtql_robot.envs.collection.plan import CollectionPlan, Plan
    from dtql_robot.makers.policy_plan import PolicyPlan
    from dtql_robot.system.cluster import Finished
    from dtql_robot.types import Demonstrations

_OF_SCRIPTS = ("noise", "record", "lapses", "cameras", "size")
_OF_ORACLES = ("kind", "steps")
_OF_POLICIES = ("max_episode_steps",)
"""Options that say nothing of other demonstrators."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Record demonstrations in simulation: of a scripted expert, or of a policy.

    With a script, the amount of action noise varies between episodes, so that the file mixes clean and clumsy
    demonstrations. OGBench scenes are recorded with OGBench's own oracles: episodes of 1000 steps without a task, as in
    its datasets. With --policy or --level, a policy acts in any environment.
    Examples: dtql-robot collect FetchPickAndPlace-v4 --episodes 200 --out demos/pick.hdf5
              dtql-robot collect FetchPickAndPlace-v4 --cameras front,wrist --size 84 --out demos/pixels.hdf5
              dtql-robot collect ogbench:cube-double-v0 --kind play --episodes 1000 --out cube-double-play-v0.npz
              dtql-robot collect d4rl:antmaze-umaze-v2 --transitions 100000 --out umaze.hdf5
              dtql-robot collect Hopper-v5 --policy runs/hopper --episodes 100 --out hopper.hdf5
              dtql-robot collect Walker2d-v5 --level random --transitions 10000 --out walker-random.hdf5
    """

    task: Positional[str]
    """FetchReach-v4, FetchPush-v4, FetchPickAndPlace-v4, robosuite:Lift, a task such as metaworld:pick-place-v3, an ant
    maze such as d4rl:antmaze-umaze-v2, or an OGBench scene such as ogbench:cube-single-v0. With --policy or --level any
    environment that `eval` takes."""
    out: Path
    """File (robomimic, d4rl, ogbench) or folder (minari) to write."""
    policy: Path | None = None
    """Record the episodes of this policy: a run folder (RUN@best for a checkpoint), or a folder of `export`. It acts as
    in evaluation; a policy that samples gives other actions in every episode."""
    level: Literal["random", "medium", "expert", "replay"] | None = None
    """Record the episodes of a released policy of this quality, or random actions. docs/paper.md lists which are
    released."""
    episodes: int | None = None
    """Number of demonstrations to record. Default: 200."""
    transitions: int | None = None
    """Instead of --episodes: record whole episodes until they have this many steps together. Not for OGBench's
    scenes."""
    max_episode_steps: int | None = None
    """With --policy or --level: time limit of episodes, in steps. Default: the environment's own."""
    format: Literal["auto", "robomimic", "minari", "ogbench", "d4rl"] = "auto"
    """Format of the output. auto: ogbench if --out ends in .npz; d4rl in D4RL's ant mazes, and for a policy in an
    environment that reports no success; otherwise robomimic."""
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
    """Drop failed episodes, and record until there are enough successful ones. Not for OGBench's oracles."""
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
    """Continue an interrupted collection: record the episodes that are missing from --out. What is there stays."""


def run(options: Options) -> None:
    """Record the demonstrations and write them.  InputError for a task that nobody is there to demonstrate."""
    from dtql_robot.datasets import format_summary, inspect
    from dtql_robot.envs.collection.collect import Recording
    from dtql_robot.makers.chosen import require_seen
    from dtql_robot.system.cluster import connect
    from dtql_robot.system.files import expanded
    from dtql_robot.system.locks import locked
    from dtql_robot.system.workers import WorkerError

    options = replace(options, out=expanded(options.out))
    plan = _plan(options)
    with locked(options.out), connect(options.cluster, options.cluster_config) as cluster:
        recording = Recording(plan, read_recorded(options.out, plan) if options.resume else ())
        if cluster is not None and options.policy is not None:
            require_seen(cluster, options.policy.expanduser())
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


def _plan(options: Options) -> CollectionPlan:
    """The plan, after all that could stop it from being written has been looked for."""
    from dtql_robot.datasets.formats.minari_write import minari_id
    from dtql_robot.envs.collection.oracle_plan import OraclePlan
    from dtql_robot.system.files import check_writable

    if options.overwrite and options.resume:
        raise InputError("--resume continues what is in --out and --overwrite replaces it; use only one of them.")
    if options.out.exists() and not (options.overwrite or options.resume):
        raise InputError(f"{options.out} exists already; choose another --out, or add --overwrite or --resume.")
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers must be 1 or more, found {options.workers}.")
    if not options.worker_timeout > 0:
        raise InputError(f"--worker-timeout must be above 0 seconds, found {options.worker_timeout:g}.")
    if options.policy is not None or options.level is not None:
        plan: CollectionPlan = _policy_plan(options)
    else:
        plan = _oracle_plan(options) if options.task.startswith("ogbench:") else _expert_plan(options)
    layout = _layout(options)
    if layout == "ogbench" and options.out.suffix != ".npz":
        raise InputError(f"{options.out} must end in .npz, as OGBench's files do.")
    if layout == "minari":
        minari_id(options.out)  # a name that Minari refuses is told before anything is recorded
    else:
        check_writable(options.out)
    if layout in ("d4rl", "ogbench") and not isinstance(plan, OraclePlan):  # which leaves the goal out
        _require_one_observation(plan, options)
    return plan


def _require_one_observation(plan: CollectionPlan, options: Options) -> None:
    """InputError, before anything is recorded, where the format has no room for what will be."""
    from dtql_robot.envs.make import env_info

    keys = [*env_info(plan.task, env_args=plan.env_args()).obs_shapes, *(f"{c}_image" for c in options.cameras)]
    if len(keys) > 1:
        raise InputError(
            f"{options.out.name} has room for one observation, but {plan.task} has {', '.join(dict.fromkeys(keys))}. "
            "Leave out --format, or write .hdf5 or a folder for --format minari."
        )


def _finished(options: Options, plan: CollectionPlan) -> Finished:
    """Episodes from a cluster are kept as they come, for a second start where this one is killed."""
    from dtql_robot.system.cluster import Finished

    return Finished.beside(options.out, plan.to_dict())


def _layout(options: Options, demos: Demonstrations | None = None) -> str:
    """The format to write; before anything has been recorded, robomimic stands for D4RL's too."""
    from dtql_robot.envs.collection.maze_expert import ant_maze

    if options.format != "auto":
        return options.format
    if options.out.suffix == ".npz":
        return "ogbench"
    if demos is not None and len(demos.obs_shapes) == 1 and ant_maze(options.task):
        return "d4rl"
    of_policy = options.policy is not None or options.level is not None
    if of_policy and demos is not None and len(demos.obs_shapes) == 1:
        return "d4rl" if all(e.success is None for e in demos.episodes) else "robomimic"
    return "robomimic"


def _refuse(options: Options, names: tuple[str, ...], why: str) -> None:
    """InputError where one of these options is given."""
    usual = {field.name: field.default for field in fields(Options)}
    given = [name for name in names if getattr(options, name) != usual[name]]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} {why}")


def _episodes(options: Options) -> int:
    """At most so many.  InputError where transitions are to be counted as well."""
    from dtql_robot.envs.collection.plan import EPISODES
    from dtql_robot.envs.seeding import EPISODES_PER_SEED

    if options.transitions is None:
        return EPISODES if options.episodes is None else options.episodes
    if options.episodes is not None:
        raise InputError("--transitions and --episodes both say how much to record; use only one of them.")
    return EPISODES_PER_SEED


def _policy_plan(options: Options) -> PolicyPlan:
    from dtql_robot.makers.chosen import plan_of_level, plan_of_policy

    _refuse(
        options, (*_OF_SCRIPTS, *_OF_ORACLES), "is for scripted demonstrations; a policy acts as it does in `eval`."
    )
    if options.policy is not None and options.level is not None:
        raise InputError("--policy and --level both say who acts; use only one of them.")
    numbers = {name: getattr(options, name) for name in ("transitions", "seed", "successes_only", "max_episode_steps")}
    numbers["episodes"] = _episodes(options)
    if options.level is not None:
        return plan_of_level(options.task, options.level, **numbers)
    assert options.policy is not None
    plan, notes = plan_of_policy(options.task, options.policy.expanduser(), **numbers)
    for note in notes:
        print(note, file=sys.stderr)
    return plan


def _expert_plan(options: Options) -> Plan:
    from dtql_robot.envs.collection.plan import Plan

    _refuse(options, _OF_ORACLES, f"is for OGBench's scenes (ogbench:cube-single-v0); leave it out for {options.task}.")
    _refuse(options, _OF_POLICIES, "is for --policy and --level.")
    names = ("task", "seed", "noise", "record", "lapses", "successes_only", "size", "transitions")
    given = {name: getattr(options, name) for name in names}
    return Plan(cameras=parse_names(options.cameras), episodes=_episodes(options), **given)


def _oracle_plan(options: Options) -> OraclePlan:
    """InputError for an option that OGBench's recordings do not have."""
    from dtql_robot.envs.collection.oracle_plan import STEPS, OraclePlan

    why = "does not apply to OGBench's oracles, whose noise is that of its published data; see --kind."
    _refuse(options, (*_OF_SCRIPTS, "successes_only"), why)
    _refuse(options, _OF_POLICIES, "is for --policy and --level; the steps of an episode here are --steps.")
    _refuse(options, ("transitions",), "does not apply to OGBench's oracles; episodes have --steps steps each.")
    steps = STEPS if options.steps is None else options.steps
    return OraclePlan(options.task, options.kind or "play", _episodes(options), options.seed, steps)


def _save(demos: Demonstrations, options: Options) -> None:
    from dtql_robot.datasets import save_d4rl, save_minari, save_ogbench, save_robomimic

    writers = {"minari": save_minari, "ogbench": save_ogbench, "robomimic": save_robomimic, "d4rl": save_d4rl}
    save = writers[_layout(options, demos)]
    save(demos, options.out, overwrite=options.overwrite or options.resume)


def _keep(recording: Recording, options: Options) -> None:
    """Write what there is of a collection that stopped, and say so."""
    if not recording.episodes:
        return
    _save(recording.demonstrations(), options)
    count, wanted, unit = recording.progress
    what = "episodes" if unit == "ep" else unit
    print(
        f"\nkept: {count} of {wanted} {what} in {options.out}; the same command with --resume records the others.",
        file=sys.stderr,
    )


def _missing_text(missing: Mapping[int, str]) -> str:
    """The sentence about episodes that could not be recorded."""
    number, reason = next(iter(missing.items()))
    names = ", ".join(map(str, list(missing)[:8])) + (", ..." if len(missing) > 8 else "")
    return f"{len(missing)} episodes could not be recorded and are missing (number {names}); number {number}: {reason}"
