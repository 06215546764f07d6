"""What an adapter hands back."""

from __future__ import annotations

from dataclasses import dataclass, field

from dtql_robot.types import Demonstrations


@dataclass(frozen=True)
class Reading:
    """The demonstrations of a source and what is worth telling about the way they were read.

    notes        sentences for people: what was missing, derived or disregarded
    left_out     observation key -> what it holds, for those not loaded
    filter_keys  name -> number of episodes, for the subsets that the file defines
    """

    demos: Demonstrations
    notes: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    filter_keys: dict[str, int] = field(default_factory=dict)
