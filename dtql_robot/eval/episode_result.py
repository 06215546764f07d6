"""One episode of an evaluation, as results.json holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TOLD = ("ends_in_success", "subtasks", "stages", "error", "starts", "measure")  # of an episode, where there is any


@dataclass(frozen=True)
class EpisodeResult:
    """One evaluated episode.

    success          None where the environment reports none
    seed             `env.reset(seed=seed)` starts it, and seeds the policy's noise in it
    time_to_success  steps until the success signal first came on; None if it never did
    ends_in_success  whether the last step succeeds too, where a success at any step counts; else None
    subtasks         part of the task -> whether it was done, where the environment tells (FrankaKitchen)
    starts           what stands where at its start: name -> (x, y, z), where observations tell
    stages           stage of the task -> steps until it first was there; None if it never was; in the order of the task
    measure          the number that decides success (`EnvInfo.measure`) after its last step; None where it is not told
    error            why it could not be played to its end, however often it was begun: it counts as no success, and its
                     return and length as nothing; None for every other episode
    """

    seed: int
    success: bool | None
    episode_return: float
    length: int
    time_to_success: int | None
    subtasks: dict[str, bool] = field(default_factory=dict)
    error: str | None = None
    starts: dict[str, list[float]] = field(default_factory=dict)
    measure: float | None = None
    stages: dict[str, int | None] = field(default_factory=dict)
    ends_in_success: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """An entry of `per_episode` in results.json."""
        return {
            "seed": self.seed,
            "success": self.success,
            "return": self.episode_return,
            "length": self.length,
            "time_to_success": self.time_to_success,
            **{name: value for name in TOLD if (value := getattr(self, name)) not in (None, {})},
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> EpisodeResult:
        """The episode that `to_dict` described."""
        names = ("seed", "success", "return", "length", "time_to_success")
        return cls(*(entry[name] for name in names), **{name: entry[name] for name in TOLD if name in entry})


@dataclass(frozen=True)
class Restart:
    """An episode that was run again from its start, because its simulator died, hung or failed after `steps` steps."""

    seed: int
    steps: int
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """An entry of `restarts` in results.json."""
        return {"seed": self.seed, "steps": self.steps, "reason": self.reason}
