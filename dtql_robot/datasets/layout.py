"""What an adapter hands back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dtql_robot.datasets.obs_keys import ObsArray
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations, Episode


@dataclass(frozen=True)
class Reading:
    """The demonstrations of a source and what is worth telling about the way they were read.

    notes        sentences for people: what was missing, derived or disregarded
    left_out     observation key -> what it holds, for those not loaded
    filter_keys  name -> episodes' names, for the subsets that the file defines
    available    observation key -> how it is stored, loaded or not
    names        all episodes of a file with filter keys, chosen or not
    """

    demos: Demonstrations
    notes: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    filter_keys: dict[str, list[str]] = field(default_factory=dict)
    available: dict[str, ObsArray] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def read_each(
    names: Sequence[str], read_one: Callable[[str], Episode], problems: list[str] | None
) -> tuple[Episode, ...]:
    """Every named episode.  The first bad one is an InputError; with a list `problems`, each goes there instead."""
    if problems is None:
        return tuple(read_one(name) for name in names)
    episodes = []
    for name in names:
        try:
            episodes.append(read_one(name))
        except InputError as error:
            problems.append(str(error))
    if problems and not episodes:
        raise InputError(problems.pop())
    return tuple(episodes)
