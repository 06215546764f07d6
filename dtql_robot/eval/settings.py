"""How a policy is judged: the settings of `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from dtql_robot.envs.seeding import check_run, evaluation_seed, watching_seed
from dtql_robot.errors import InputError, did_you_mean, require_choice, require_whole
from dtql_robot.eval.pools.env_pool import EnvPool, Where, make_pool
from dtql_robot.eval.subject import Subject
from dtql_robot.system.cluster import Cluster, Finished

WORKER_TIMEOUT = 120.0
_OTHER_NAMES = {"workers": "num_envs"}
"""What the command line calls a setting -> its name here."""


@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """How a policy is judged.

    episodes           how many; episode i of a seed is always the same one
    seed               of the start states and of the policy's noise
    num_envs           environments at once; None: as many as suit the simulator, see `suitable_envs`
    max_episode_steps  after which an episode ends; None: the environment's own limit
    env_args           as for `make_env`; None: what the policy's run records of its environment, where that is the one
    where              whether the environments run in processes of their own ("auto": as measured, see `make_pool`)
    worker_timeout     seconds in which a process must answer, or else it is replaced
    progress           whether a bar shows how far it is
    while_training     whether the episodes are those kept for evaluations while training, which no other one plays
    cluster            where the episodes are played (`system.cluster`); None: on this machine.  num_envs and where are
                       then the cluster's affair
    finished           where episodes that have been played are kept, so that a second start takes them up
    stop               asked after every episode; the evaluation ends with `Stopped` where it answers True
    """

    episodes: int = 50
    seed: int = 0
    num_envs: int | None = None
    max_episode_steps: int | None = None
    env_args: dict[str, Any] | None = None
    where: Where = "auto"
    worker_timeout: float = WORKER_TIMEOUT
    progress: bool = True
    while_training: bool = False
    cluster: Cluster | None = None
    finished: Finished | None = None
    stop: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        """InputError for numbers that make no evaluation."""
        check_run(self.seed, self.episodes)
        require_choice("where", self.where, get_args(Where))
        if self.num_envs is not None:
            require_whole("num_envs", self.num_envs, 1)
        if not self.worker_timeout > 0:
            raise InputError(f"worker_timeout must be above 0 seconds, found {self.worker_timeout:g}.")

    @classmethod
    def named(cls, settings: Mapping[str, Any]) -> EvalSettings:
        """The settings with these names; InputError for a name that there is not."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                hint = f"Did you mean {_OTHER_NAMES[name]}?" if name in _OTHER_NAMES else did_you_mean(name, known, n=1)
                raise InputError(f"there is no setting {name!r}. {hint}".rstrip())
        return cls(**settings)

    @property
    def seeds(self) -> list[int]:
        """The environment's seed of each episode."""
        if self.while_training:
            return [watching_seed(i) for i in range(self.episodes)]
        return [evaluation_seed(self.seed, i) for i in range(self.episodes)]

    def make_pool(self, subject: Subject) -> EnvPool:
        """The environments for the policy, where it acts in them if it can be copied there."""
        return make_pool(
            self.num_envs if self.cluster is None else 1,
            subject.spec,
            self.max_episode_steps,
            subject.env_args,
            subject.image_obs,
            episodes=self.episodes,
            where=self.where if self.cluster is None else "in-process",
            chunk=subject.policy.n_action_steps,
            timeout=self.worker_timeout,
            policy=subject.portable(),
        )
