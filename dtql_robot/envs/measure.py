"""What observations tell of a task: where things stand, and how far the robot is from success."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.types import Obs


@dataclass(frozen=True)
class Place:
    """Entries `first` to `last` (not included) of an observation."""

    key: str
    first: int
    last: int

    def read(self, obs: Obs) -> list[float] | None:
        """The entries to a millionth; None where the observation is not there, too short or not finite."""
        if self.key not in obs:
            return None
        entries = np.ravel(np.asarray(obs[self.key]))[self.first : self.last]
        if len(entries) < self.last - self.first or not np.isfinite(entries).all():
            return None
        return [round(float(entry), 6) for entry in entries]


@dataclass(frozen=True)
class Measure:
    """The number that the environment compares with a threshold to tell success.

    of         where the number is; or a vector whose length it is; or two places whose distance it is
    threshold  None where the environment keeps it to itself
    below      whether success is below the threshold
    unit       of the number; "" for none
    """

    name: str
    of: tuple[Place, ...]
    threshold: float | None = None
    below: bool = True
    unit: str = "m"

    def read(self, obs: Obs) -> float | None:
        """Its value; None where the observation does not tell."""
        found = [place.read(obs) for place in self.of]
        if any(entries is None for entries in found):
            return None
        values = [entries for entries in found if entries is not None]
        if len(values) == 2:
            return round(math.dist(*values), 6)
        return values[0][0] if len(values[0]) == 1 else round(math.hypot(*values[0]), 6)

    def told(self, value: float) -> str:
        """The value in words: "distance to goal 0.123 m (success below 0.05)"."""
        text = f"{self.name} {value:.3f}{' ' + self.unit if self.unit else ''}"
        if self.threshold is None:
            return text
        return f"{text} (success {'below' if self.below else 'above'} {self.threshold:g})"

    def to_dict(self) -> dict[str, Any]:
        """The entry "measure" of results.json."""
        return {"name": self.name, "threshold": self.threshold, "below": self.below, "unit": self.unit}


def starts(places: Mapping[str, Place], obs: Obs) -> dict[str, list[float]]:
    """Where things stand in the first observation of an episode: name -> (x, y), or (x, y, z)."""
    found = {name: place.read(obs) for name, place in places.items()}
    return {name: entries for name, entries in found.items() if entries is not None}


def goal_places(shapes: Mapping[str, Sequence[int]], moved: str) -> dict[str, Place]:
    """The places of an environment with goals as Gymnasium-Robotics has them; none of another one.

    moved: what is to be brought to the goal.
    """
    sizes = {key: shapes.get(key, ()) for key in ("achieved_goal", "desired_goal")}
    if sizes["achieved_goal"] != sizes["desired_goal"] or tuple(sizes["desired_goal"]) not in ((2,), (3,)):
        return {}
    size = sizes["desired_goal"][0]
    return {moved: Place("achieved_goal", 0, size), "goal": Place("desired_goal", 0, size)}
