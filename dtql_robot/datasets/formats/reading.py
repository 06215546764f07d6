"""What is asked of an adapter, which of a file's observations it loads, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode, is_image


@dataclass(frozen=True)
class ObsArray:
    """How one observation is stored: (rows, ...) shape, dtype, and whether the rows are JPEG files."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    jpeg: bool = False

    @property
    def is_image(self) -> bool:
        """Colour, depth or segmentation images, encoded or not."""
        return self.jpeg or is_image(self.shape[1:], self.dtype)

    @property
    def is_numeric(self) -> bool:
        """Numbers, at least one per step (JPEG files are none); the others are listed and never loaded."""
        return not self.jpeg and self.dtype.kind in "biuf" and not self.is_empty

    @property
    def is_empty(self) -> bool:
        """Rows without values, as of an object that is not in the scene."""
        return 0 in self.shape[1:]

    def __str__(self) -> str:
        return "JPEG images" if self.jpeg else f"{self.dtype} {self.shape[1:]}"


@dataclass(frozen=True)
class ObsChoice:
    """keys: loaded, in order.  left_out: key -> what it holds.  available: everything that is there."""

    keys: tuple[str, ...]
    left_out: dict[str, str]
    available: dict[str, ObsArray]


GENERATOR = "datagen_info"
"""A data generator's own record (Isaac Lab, MimicGen): target poses and the like, which no environment gives."""


def copies_of_actions(
    available: Mapping[str, ObsArray], actions: Array, read: Callable[[str], Array]
) -> frozenset[str]:
    """Observations of an episode that are its actions, which a policy would only need to repeat.

    actions: (T, A) as stored.  read: the rows of a key, T or T + 1.
    """
    rows = len(actions)
    if actions.ndim != 2 or not np.any(actions != actions[:1]):
        return frozenset()  # of one row, or of one action, every constant is a copy
    shaped = [k for k, v in available.items() if v.shape in (actions.shape, (rows + 1, actions.shape[1]))]
    same = (k for k in shaped if available[k].is_numeric and np.allclose(read(k)[:rows], actions, 1e-5, 1e-7))
    return frozenset(same)


def choose(
    available: Mapping[str, ObsArray],
    requested: Sequence[str] | None,
    file: str,
    copies: Callable[[], frozenset[str]] = frozenset,
) -> ObsChoice:
    """The requested keys, or every low-dimensional one but copies of the actions and what a data generator noted, or
    every camera where there is nothing else.

    copies: finds the observations that are copies, see `copies_of_actions`; called only where no keys are requested.

    Images cost orders of magnitude more memory than states, so they are loaded only when asked for by name.
    InputError for a key that is not there, listing those that are.
    """
    if not available:
        raise InputError(f"{file} contains no observations.")
    copied: frozenset[str] = frozenset()
    if requested is None:
        copied = copies()
        plain = [k for k, v in available.items() if not v.is_image and v.is_numeric]
        keys = tuple(k for k in plain if k not in copied and GENERATOR not in k.split("/"))
        if not plain:
            keys = tuple(k for k, v in available.items() if v.is_numeric and v.shape[-1] == 3)
        if not keys:
            images = ", ".join(f"{k} ({v})" for k, v in available.items())
            what = "no observations but copies of the actions" if plain else "no low-dimensional observations"
            raise InputError(f"{file} contains {what}: {images}. Name the ones to load with obs_keys.")
    else:
        keys = tuple(dict.fromkeys([requested] if isinstance(requested, str) else requested))
        unknown = [k for k in keys if k not in available]
        if unknown or not keys:
            what = f"no observation {unknown[0]!r}" if unknown else "no observation was requested"
            hint = " Names are separated by spaces." if unknown and "," in unknown[0] else ""
            raise InputError(f"{file}: {what}; available: {', '.join(available)}.{hint}")
        for key in keys:
            if available[key].is_empty:
                raise InputError(f"{file}: observation {key!r} has shape {available[key].shape}, which is empty.")
            if available[key].jpeg:
                raise InputError(
                    f"{file}: observation {key!r} is stored as JPEG images, which is lossy and not "
                    "supported. Write the dataset with jpeg_encoding=False."
                )
    left_out = {k: _described(k, v, k in copied) for k, v in available.items() if k not in keys}
    return ObsChoice(keys, left_out, dict(available))


def _described(key: str, stored: ObsArray, copy: bool) -> str:
    if copy or stored.is_empty:
        return f"{stored}, {'a copy of the actions' if copy else 'no values'}"
    return f"{stored}, noted by a data generator" if GENERATOR in key.split("/") else str(stored)


def notes_on(choice: ObsChoice) -> tuple[str, ...]:
    """What people should read of the observations that were left out, besides that they were."""
    left = choice.left_out
    empty = [k for k in left if choice.available[k].is_empty]
    copies = [k for k, what in left.items() if what.endswith("a copy of the actions")]
    found = [f"observation {k!r} has no values and is left out." for k in empty]
    return (
        *found,
        *(
            f"observation {k!r} equals the action of the same step and is left out; name it with obs_keys to load it."
            for k in copies
        ),
    )


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
    episode_length  steps after which an episode of a D4RL file ends where the file marks no end
    """

    obs_keys: Sequence[str] | None = None
    filter_key: str | None = None
    problems: list[str] | None = None
    keep: Keep | None = None
    episode_length: int | None = None


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
