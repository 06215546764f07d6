"""What is known about an environment before it is stepped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dtql_robot.env_record import SuccessRule
from dtql_robot.errors import InputError

if TYPE_CHECKING:
    import gymnasium


def as_flag(value: Any, name: str, env: gymnasium.Env) -> bool:
    """An entry of `info` that says yes or no: True, False, 1, 0, or NumPy's scalars of these.

    InputError naming the environment for anything else.  (bool(nan) and bool("False") are true, and a success that is
    NaN or None is none.)
    """
    if value is True or value is False:
        return value
    scalar = isinstance(value, (int, float)) or (getattr(value, "shape", None) == () and value.dtype.kind in "buif")
    if not scalar or (value != 0 and value != 1):
        spec = getattr(env.unwrapped, "spec", None)
        where = spec.id if spec is not None else type(env.unwrapped).__name__
        found = f"an array of shape {value.shape}" if getattr(value, "shape", ()) else repr(value)[:60]
        raise InputError(f"{where} gives info[{name!r}] = {found}; expected True or False after every step. Mend the "
                         "environment, or wrap it so that it tells its success.")  # fmt: skip
    return bool(value)


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

    def check_camera(self, name: str | None) -> str | None:
        """`name`, which must be one of `cameras`; None stays None."""
        if name is not None and name not in self.cameras:
            known = f"it has {', '.join(self.cameras)}" if self.cameras else "it has none with a name"
            raise InputError(f"{self.spec} has no camera {name!r}; {known}.")
        return name
