"""What a collection with a policy is: its environment, what acts there, and its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dtql_robot.env_record import record_as, with_time_limit
from dtql_robot.envs.collection.plan import PACKAGES, check_continues, check_transitions
from dtql_robot.envs.seeding import EPISODES_PER_SEED, check_run
from dtql_robot.makers.released import Level


@dataclass(frozen=True)
class PolicyPlan:
    """All that a recording of a policy's episodes depends on.

    task         the environment
    policy       a run ("runs/hopper@best"), or the folder of an exported policy; None: actions are drawn evenly from
                 their bounds
    weights      what tells the policy's weights from any others; None with no policy
    level        the name under which it is released, or "random"; None for a policy of the user's
    episodes     how many; with `transitions` at most as many
    transitions  record whole episodes until they have as many steps together; None: `episodes` decides
    made_with    keyword arguments of the environment, or a record of it, as for `make_env`
    max_episode_steps  time limit; None: the environment's own

    Raises InputError, on creation, for numbers out of range.
    """

    task: str
    policy: str | None = None
    weights: str | None = None
    level: Level | None = None
    episodes: int = 200
    transitions: int | None = None
    seed: int = 0
    successes_only: bool = False
    max_episode_steps: int | None = None
    made_with: dict[str, Any] = field(default_factory=dict)

    collector = "dtql_robot.makers.policy_collector:PolicyCollector"
    """What records it, as a `Worker` takes it."""
    format = "robomimic"

    def __post_init__(self) -> None:
        check_run(self.seed, self.episodes)
        check_transitions(self.transitions)

    @property
    def attempts(self) -> int:
        """Episodes that may be tried."""
        return EPISODES_PER_SEED if self.successes_only or self.transitions is not None else self.episodes

    @property
    def source(self) -> str:
        """The collection in words."""
        actor = "random actions" if self.policy is None else f"policy {self.level or self.policy}"
        return f"{actor}, seed {self.seed}" + (", successes only" if self.successes_only else "")

    def env_args(self) -> dict[str, Any]:
        """robomimic's record of the environment, with the time limit if it is not the environment's own."""
        record = record_as(self.task, {"env_kwargs": {}, **_version_of(self.task), **self.made_with})
        return record if self.max_episode_steps is None else with_time_limit(record, self.max_episode_steps)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the same for a collection and its continuation."""
        return {
            "task": self.task,
            "policy": None if self.level else self.policy,
            "level": self.level,
            "weights_sha256": self.weights,
            "seed": self.seed,
            "successes_only": self.successes_only,
            "max_episode_steps": self.max_episode_steps,
        }

    def check_continues(self, recorded: Mapping[str, Any], path: object) -> None:
        """InputError unless the file at `path`, whose attributes say `recorded`, is of this plan.

        Where the policy's folder stands does not matter, if its weights are the same.
        """
        mine = {k: v for k, v in self.to_dict().items() if k != "policy"}
        check_continues(mine, recorded, path)


def _version_of(task: str) -> dict[str, str]:
    """The version of the package that makes the environment; nothing where that is no installed package."""
    import gymnasium

    base = task.partition("+")[0]
    package = PACKAGES.get(base.partition(":")[0])
    if package is None:
        spec = gymnasium.registry.get(base.rpartition(":")[2])
        package = str(spec.entry_point).partition(".")[0] if spec is not None else ""
    try:
        return {"env_version": version(package)} if package else {}
    except PackageNotFoundError:
        return {}
