"""From what a user names, a policy or a level, to the plan of its recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dtql_robot.env_record import choose_env
from dtql_robot.envs.make import env_info
from dtql_robot.errors import InputError
from dtql_robot.makers.policy_plan import PolicyPlan
from dtql_robot.makers.released import Level, maker
from dtql_robot.run_folder import POLICY_WEIGHTS, checkpoint_digest, settings_of
from dtql_robot.run_name import checkpoint_file, split_checkpoint
from dtql_robot.system.cluster import Cluster


def plan_of_policy(task: str, run: Path, **numbers: Any) -> tuple[PolicyPlan, tuple[str, ...]]:
    """(the recording of a run's or an exported policy's episodes in `task`, sentences that the user should read).

    run: as `eval` takes it.  numbers: `episodes`, `transitions`, `seed` and the like, see `PolicyPlan`.
    What the run records of its environment is used if `task` is that environment.  InputError where there is no policy.
    """
    folder, name = split_checkpoint(run)
    settings = settings_of(folder)
    weights = checkpoint_digest(folder, name)
    if not weights:
        raise InputError(
            f"{folder} contains no {checkpoint_file(folder, name).name}; --policy takes what `eval` takes."
        )
    chosen = choose_env(task, settings["env"], settings["env_args"], source=str(folder))
    plan = PolicyPlan(chosen.require(), str(run), weights, made_with=chosen.env_args, **numbers)
    return _that_ends(plan), chosen.notes


def plan_of_level(task: str, level: Level, **numbers: Any) -> PolicyPlan:
    """The recording of a released policy's episodes, or of random actions.  InputError where none is released."""
    if level == "random":
        return _that_ends(PolicyPlan(task, level=level, **numbers))
    folder = maker(task, level).folder
    return _that_ends(PolicyPlan(task, str(folder), checkpoint_digest(folder), level, **numbers))


def _that_ends(plan: PolicyPlan) -> PolicyPlan:
    """The plan.  InputError for an unknown environment, or one whose episodes need not end."""
    facts = env_info(plan.task, max_episode_steps=plan.max_episode_steps, env_args=plan.made_with or None)
    if facts.horizon is None:
        raise InputError(f"{plan.task} has no time limit of its own; set one with --max-episode-steps.")
    return plan


def require_seen(cluster: Cluster, policy: Path) -> None:
    """InputError where machines of the cluster do not see the policy: it is read where it acts."""
    folder, name = split_checkpoint(policy)
    exported = folder / POLICY_WEIGHTS
    if not cluster.sees(exported if exported.is_file() else checkpoint_file(folder, name)):
        raise InputError(
            f"--policy {policy} is not there on all machines of the cluster under this name; put it into a shared "
            "folder, or leave out --cluster."
        )
