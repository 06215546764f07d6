"""The demonstrations that `bench` records for its tasks.  What is recorded when it is interrupted is kept."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dtql_robot.commands.recorded import read_recorded
from dtql_robot.env_record import same_environment
from dtql_robot.errors import InputError
from dtql_robot.experiments.suites import BenchTask, OracleRecording, PolicyRecording, Recording

if TYPE_CHECKING:
    from dtql_robot.envs.collection.plan import CollectionPlan
    from dtql_robot.types import Demonstrations


def collect_data(task: BenchTask, path: Path) -> None:
    """Record the task's demonstrations into the file at `path`, if they are recorded and not there yet."""
    from dtql_robot.datasets import save_d4rl, save_ogbench, save_robomimic
    from dtql_robot.datasets.formats.ogbench_names import recording_name

    if isinstance(task.data, OracleRecording):
        path = path.with_name(f"{recording_name(path.stem)}.npz")  # which serves all tasks
    if task.data is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    plans = _plans(task)
    save: Callable[..., object] = save_d4rl if plans[0].format == "d4rl" else save_robomimic
    if isinstance(task.data, PolicyRecording):
        save = save_d4rl
    elif isinstance(task.data, OracleRecording):
        save = save_ogbench
    parts = [path.with_name(f"{path.stem}.part{i}{path.suffix}") for i in range(len(plans))]
    recorded = []
    for plan, part in zip(plans, parts, strict=True):
        recorded.append(_recorded(plan, part, save))
        if len(plans) > 1:  # the next one may be interrupted
            save(recorded[-1], part, overwrite=True)
    whole = recorded[0]
    if isinstance(task.data, PolicyRecording) and len(recorded) > 1:
        whole = _of_levels(task.data.levels, recorded)
    save(whole, path)
    for part in parts:
        part.unlink(missing_ok=True)


def check_given(task: BenchTask, path: Path) -> None:
    """InputError where a file of the user's for a task that could be recorded is of another environment.

    It would be evaluated there, and its result would stand in the table under the task's name.
    """
    from dtql_robot.datasets import load

    if isinstance(task.data, Recording | PolicyRecording):
        found = load(path).env_spec
        if found is not None and not same_environment(found, task.data.task):
            raise InputError(f"--files {task.name}={path}: the file is of {found}, the task of {task.data.task}.")


def _plans(task: BenchTask) -> list[CollectionPlan]:
    """What to record, one after the other."""
    from dtql_robot.envs.collection.collect import OraclePlan, Plan
    from dtql_robot.envs.collection.plan import EPISODES
    from dtql_robot.envs.seeding import EPISODES_PER_SEED
    from dtql_robot.makers.chosen import plan_of_level

    data = task.data
    if isinstance(data, OracleRecording):
        return [OraclePlan(**dataclasses.asdict(data))]
    if isinstance(data, PolicyRecording):
        most = {"episodes": EPISODES_PER_SEED, "transitions": data.transitions}
        return [plan_of_level(data.task, level, **most) for level in data.levels]
    assert data is not None
    most_of_script = EPISODES if data.transitions is None else EPISODES_PER_SEED
    return [Plan(**{**dataclasses.asdict(data), "episodes": data.episodes or most_of_script})]


def _recorded(plan: CollectionPlan, part: Path, save: Callable[..., object]) -> Demonstrations:
    """The recording of a plan, from what `part` holds of it on.  Where it is interrupted, that is kept in `part`."""
    from dtql_robot.envs.collection.collect import Recording as Running

    try:
        recording = Running(plan, read_recorded(part, plan))
    except InputError:  # of another version, or damaged: recorded anew
        recording = Running(plan)
    try:
        recording.run()
    except BaseException:
        if recording.episodes:
            save(recording.demonstrations(), part, overwrite=True)
            count, wanted, unit = recording.progress
            print(f"\nkept: {count} of {wanted} {'episodes' if unit == 'ep' else unit} in {part}", file=sys.stderr)
        raise
    return recording.demonstrations()


def _of_levels(levels: Sequence[str], parts: Sequence[Demonstrations]) -> Demonstrations:
    """The episodes of one level after the other, with what all levels' recordings say of themselves."""
    first, *others = parts
    episodes = [
        dataclasses.replace(e, name=f"{level} {e.name}")
        for level, part in zip(levels, parts, strict=True)
        for e in part.episodes
    ]
    shared = {k: v for k, v in first.attrs.items() if all(p.attrs.get(k) == v for p in others)}
    return dataclasses.replace(first, episodes=tuple(episodes), attrs=shared)
