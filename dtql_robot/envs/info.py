"""What is known about an environment before it is stepped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dtql_robot.env_record import SuccessRule
from dtql_robot.envs.measure import Measure, Place
from dtql_robot.errors import InputError


@dataclass(frozen=True)
class EnvInfo:
    """The facts evaluation needs.

    spec          the environment in this package's notation ("FetchPush-v4")
    horizon       steps after which an episode is truncated; None where the environment has no time limit
    success_rule  "last": an episode succeeds if its last step does (goal-reaching tasks, the HER convention);
                  "any": an episode succeeds if any of its steps does
    fps           steps per second of simulated time, the natural speed of a video
    action_dim    entries of one action
    obs_shapes    key -> shape of one observation
    cameras       names that `make_env(..., camera=...)` takes besides its own choice
    camera_views  where those cameras stand that are this package's own, not the model's
    subtasks      parts of the task whose success is reported on its own (FrankaKitchen)
    places        what stands where at the start of an episode ("object", "goal"), as far as observations tell
    measure       the number that decides success, where observations tell it
    stages        what lies between the start and success, in order, where the environment tells ("grasped", "lifted")
    """

    spec: str
    horizon: int | None
    success_rule: SuccessRule
    fps: int
    action_dim: int
    obs_shapes: dict[str, tuple[int, ...]]
    cameras: tuple[str, ...] = ()
    subtasks: tuple[str, ...] = ()
    camera_views: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    measure: Measure | None = None
    stages: tuple[str, ...] = ()

    def check_camera(self, name: str | None) -> str | None:
        """`name`, which must be one of `cameras`; None stays None."""
        if name is not None and name not in self.cameras:
            known = f"it has {', '.join(self.cameras)}" if self.cameras else "it has none with a name"
            raise InputError(f"{self.spec} has no camera {name!r}; {known}.")
        return name
