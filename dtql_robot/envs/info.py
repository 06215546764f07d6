"""What is known about an environment before it is stepped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SuccessRule = Literal["last", "any"]


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
    """

    spec: str
    horizon: int | None
    success_rule: SuccessRule
    fps: int
    action_dim: int
    obs_shapes: dict[str, tuple[int, ...]]
