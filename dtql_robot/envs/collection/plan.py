"""What a collection is: its task, its seeds, and how good its demonstrator is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, get_args

from dtql_robot.env_record import record_as
from dtql_robot.envs.collection.fetch_expert import expert
from dtql_robot.envs.collection.maze_expert import ant_maze
from dtql_robot.envs.make import env_info
from dtql_robot.envs.rendering.image_obs import camera_record, check_images, square_images
from dtql_robot.envs.seeding import EPISODES_PER_SEED, check_run
from dtql_robot.errors import InputError, require_choice, require_number, require_whole
from dtql_robot.types import ImageObs

Record = Literal["executed", "intended"]
NOISE_ATTRS = {"executed": "noise", "intended": "disturbance"}
"""The episode attribute that tells the noise's amplitude: noise is in the recorded actions, a disturbance is not."""
PLAN_ATTR = "collection"
"""The file attribute that says how the data was collected."""
PACKAGES = {"robosuite": "robosuite", "metaworld": "metaworld", "ogbench": "ogbench"}
EPISODES = 200
"""Recorded where nothing says how much."""
MOST_TRANSITIONS = 100_000_000


class CollectionPlan(Protocol):
    """What `Recording` needs of a plan: a frozen dataclass of all that the data depends on."""

    @property
    def task(self) -> str:
        """The environment's spec."""

    @property
    def seed(self) -> int:
        """Of start states and noise."""

    @property
    def episodes(self) -> int:
        """How many are wanted."""

    @property
    def transitions(self) -> int | None:
        """Steps after which no further episode is begun to be counted; None: `episodes` alone decides."""

    @property
    def attempts(self) -> int:
        """Episodes that may be tried."""

    @property
    def successes_only(self) -> bool:
        """Whether failed episodes are left out."""

    @property
    def collector(self) -> str:
        """What records it, as a `Worker` takes it: "module:Class", made with the plan, with `episode` and `close`."""

    @property
    def format(self) -> str:
        """`Demonstrations.format` of the data."""

    @property
    def source(self) -> str:
        """The collection in words."""

    def env_args(self) -> dict[str, Any]:
        """robomimic's record of the environment."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the same for a collection and its continuation."""

    def check_continues(self, recorded: Mapping[str, Any], path: object) -> None:
        """InputError unless the file at `path`, whose attributes say `recorded`, is of this plan."""


@dataclass(frozen=True)
class Plan:
    """All that a collection's data depends on.  For what each means see `collect`.

    Raises InputError, on creation, for a task without an expert and for numbers out of range.
    """

    task: str
    episodes: int
    seed: int = 0
    noise: float = 0.3
    record: Record = "executed"
    lapses: float = 0.0
    successes_only: bool = False
    cameras: tuple[str, ...] = ()
    size: int = 84
    transitions: int | None = None

    collector = "dtql_robot.envs.collection.collector:Collector"
    """What records it, as a `Worker` takes it."""

    def __post_init__(self) -> None:
        if not isinstance(self.task, str):
            raise InputError(f"task is {self.task!r}; expected the name of an environment.")
        if not ant_maze(self.task):
            expert(self.task)  # an unknown task is the first thing to report
        elif self.lapses:
            raise InputError(f"lapses are of grippers; leave them out for {self.task}.")
        check_run(self.seed, self.episodes)
        check_transitions(self.transitions)
        require_choice("record", self.record, get_args(Record))
        require_number("noise", self.noise, 0, 2, " (actions are in [-1, 1])")
        require_number("lapses", self.lapses, 0, 1, ", a share of the episodes")
        if self.cameras:
            square_images(self.cameras, self.size)

    @property
    def format(self) -> str:
        """`Demonstrations.format` of the data."""
        return "d4rl" if ant_maze(self.task) and not self.cameras else "robomimic"

    @property
    def images(self) -> ImageObs | None:
        """The image observations to record."""
        return square_images(self.cameras, self.size) if self.cameras else None

    @property
    def attempts(self) -> int:
        """Episodes that may be tried."""
        return EPISODES_PER_SEED if self.successes_only or self.transitions is not None else self.episodes

    @property
    def source(self) -> str:
        """The collection in words."""
        text = f"scripted expert, seed {self.seed}, {NOISE_ATTRS[self.record]} {self.noise:g}"
        text += f", lapses {self.lapses:g}" if self.lapses else ""
        return text + (", successes only" if self.successes_only else "")

    def env_args(self) -> dict[str, Any]:
        """robomimic's record of the environment.  InputError for a camera that it has not."""
        from importlib.metadata import version

        package = PACKAGES.get(self.task.partition(":")[0], "gymnasium-robotics")
        if ant_maze(self.task):
            package = "gymnasium"  # whose ant it is
        record = record_as(self.task, {"env_version": version(package), "env_kwargs": {}})
        if self.images is None:
            return record
        facts = env_info(self.task)
        check_images(self.images, facts, {})
        return record | camera_record(self.images, facts)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; without how much is wanted, the same for a collection and its continuation."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in plain.items() if k not in ("episodes", "transitions")}

    def check_continues(self, recorded: Mapping[str, Any], path: object) -> None:
        """InputError unless the file at `path`, whose attributes say `recorded`, is of this plan."""
        check_continues(self.to_dict(), recorded, path)


def check_transitions(wanted: int | None) -> None:
    """InputError for a number of transitions out of range."""
    if wanted is not None:
        require_whole("transitions", wanted, 1, MOST_TRANSITIONS)


def check_continues(plan: Mapping[str, Any], recorded: Mapping[str, Any], path: object) -> None:
    """InputError unless the attributes `recorded` of the file at `path` say that it was collected by this plan."""
    found = recorded.get(PLAN_ATTR)
    if not isinstance(found, Mapping):
        raise InputError(f"{path} does not say how it was collected, so it cannot be continued.")
    other = [name for name in plan if found.get(name) != plan[name]]
    if other:
        what = ", ".join(f"{k} was {found.get(k)!r}, now {plan[k]!r}" for k in other)
        raise InputError(f"{path} was collected otherwise: {what}; continue it with the same options.")
