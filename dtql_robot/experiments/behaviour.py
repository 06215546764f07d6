"""What the demonstrations of a task reach themselves, on the scale on which policies are judged there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dtql_robot import paper
from dtql_robot.datasets import load
from dtql_robot.envs import env_info
from dtql_robot.errors import InputError
from dtql_robot.eval.reference_returns import Measure, find_reference
from dtql_robot.experiments.suites import BenchTask
from dtql_robot.types import Demonstrations


def behaviour_scores(task: BenchTask, data: Path | str) -> tuple[float, ...]:
    """Normalized score of each recorded episode of one of the paper's tasks.  InputError for others."""
    row = task.paper_row
    if row is None:
        raise InputError(f"{task.name} is none of the paper's tasks.")
    facts = env_info(row.env, max_episode_steps=row.horizon)
    reference, why = find_reference(facts, {}, row.horizon)
    if reference is None:
        raise InputError(f"{task.name}: {why}")
    return tuple(map(reference.score, recorded_values(load(data), reference.measure)))


def recorded_values(demos: Demonstrations, measure: Measure) -> list[float]:
    """What D4RL's rewards tell of each episode.

    return    the sum of rewards
    success   whether any reward is above 0: in a maze it is 1 at the goal
    subtasks  how many are done: the sum of rewards where each pays once, as in the environment, else the highest
              reward, which counts those that are done
    """
    rewards = [e.rewards.astype(np.float64) for e in demos.episodes]
    if measure == "return":
        return [float(r.sum()) for r in rewards]
    if measure == "success":
        return [float(r.max() > 0) for r in rewards]
    once = all(r.sum() <= paper.KITCHEN_SUBTASKS for r in rewards)
    return [float(r.sum() if once else r.max()) for r in rewards]
