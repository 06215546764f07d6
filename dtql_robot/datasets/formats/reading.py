"""What an adapter hands back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dtql_robot.datasets.formats.obs_keys import ObsArray
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
    unread       other arrays that are not kept -> what they hold
    """

    demos: Demonstrations
    notes: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    filter_keys: dict[str, list[str]] = field(default_factory=dict)
    available: dict[str, ObsArray] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)


Keep = Callable[[Episode], Episode]
"""What becomes of an episode as soon as it is read: packed to disk, say."""


@dataclass(frozen=True)
class Request:
    """What is asked of a file.

    obs_keys    observations to load, in this order; None: every low-dimensional one
    filter_key  subset of a robomimic file; None: all
    problems    where not None, bad episodes become sentences here instead of an InputError
    keep        see Keep; None: episodes stay in memory
    """

    obs_keys: Sequence[str] | None = None
    filter_key: str | None = None
    problems: list[str] | None = None
    keep: Keep | None = None


def read_each(names: Sequence[str], read_one: Callable[[str], Episode], request: Request) -> tuple[Episode, ...]:
    """Every named episode.  The first bad one is an InputError; with `request.problems`, each goes there instead."""
    keep = request.keep or _as_it_is
    if request.problems is None:
        return tuple(keep(read_one(name)) for name in names)
    episodes = []
    for name in names:
        try:
            episodes.append(keep(read_one(name)))
        except InputError as error:
            request.problems.append(str(error))
    if request.problems and not episodes:
        raise InputError(request.problems.pop())
    return tuple(episodes)


def _as_it_is(episode: Episode) -> Episode:
    return episode
