"""What a collection with OGBench's scripted oracles is: its scene, its kind and its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from dtql_robot.env_record import record_as
from dtql_robot.envs.collection.plan import check_continues
from dtql_robot.envs.seeding import check_run
from dtql_robot.errors import InputError, did_you_mean

Kind = Literal["play", "noisy"]
STEPS = 1000
"""Steps of an episode, as in the published data: 1001 rows, of which the last has no action."""
SCENES = {
    **{
        f"cube-{size}-v0": (low, high)
        for size, low, high in (
            ("single", 0.0, 0.0),
            ("double", 0.0, 0.25),
            ("triple", 0.05, 0.35),
            ("quadruple", 0.1, 0.5),
            ("octuple", 0.0, 0.35),
        )
    },
    **dict.fromkeys(("scene-v0", "puzzle-3x3-v0", "puzzle-4x4-v0", "puzzle-4x5-v0", "puzzle-4x6-v0"), (0.5, 0.5)),
}
"""Scene -> the range from which each episode draws the probability that a cube is to be stacked."""
FAMILY = "ogbench:"


@dataclass(frozen=True)
class OraclePlan:
    """All that a collection's data depends on.

    task   "ogbench:cube-double-v0"
    kind   play: the oracle follows a plan with smooth noise.  noisy: it reacts to what it sees, with Gaussian noise of
           its own strength in every episode, and some actions are random
    steps  of an episode

    Raises InputError, on creation, for a scene without oracles and for numbers out of range.
    """

    task: str
    kind: Kind
    episodes: int
    seed: int = 0
    steps: int = STEPS

    def __post_init__(self) -> None:
        if not has_oracles(self.task):
            scenes = [f"{FAMILY}{name}" for name in SCENES]
            raise InputError(
                f"OGBench has no scripted oracle for {self.task!r}. {did_you_mean(self.task, scenes)} "
                f"It has them for {', '.join(scenes)}."
            )
        check_run(self.seed, self.episodes)
        if not 2 <= self.steps <= 100_000:
            raise InputError(f"steps of an episode must be between 2 and 100000, found {self.steps}.")

    collector = "dtql_robot.envs.collection.oracle_collector:OracleCollector"
    """What records it, as a `Worker` takes it."""
    format = "ogbench"
    successes_only = False
    transitions: ClassVar[None] = None

    @property
    def attempts(self) -> int:
        """Episodes that may be tried."""
        return self.episodes

    @property
    def source(self) -> str:
        """The collection in words."""
        return f"OGBench's {self.kind} oracle, seed {self.seed}"

    def env_args(self) -> dict[str, Any]:
        """robomimic's record of the environment that policies are judged in.  InputError without OGBench."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return record_as(self.task, {"env_version": version("ogbench"), "env_kwargs": {}})
        except PackageNotFoundError as error:
            raise InputError("Its oracles need the package ogbench: `pip install 'dtql-robot[ogbench]'`.") from error

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the same for a collection and its continuation."""
        return {k: v for k, v in asdict(self).items() if k != "episodes"}

    def check_continues(self, recorded: Mapping[str, Any], path: object) -> None:
        """InputError unless the file at `path`, whose attributes say `recorded`, is of this plan."""
        check_continues(self.to_dict(), recorded, path)


def has_oracles(task: str) -> bool:
    """Whether `task` names a scene for which OGBench has scripted oracles."""
    return task.startswith(FAMILY) and task.removeprefix(FAMILY) in SCENES
