"""What the features of a LeRobot data set are for, and what they are called here.

LeRobot                        here
observation.state              observation, as the only array of an environment is called
observation.images.front       front_image
observation.NAME               NAME
action                         actions
next.reward, next.success      rewards, success
next.done, next.truncated      how the episode ended
timestamp                      an extra, where it is not the frame's number over fps
all other numbers              extras

Where no name begins with "observation" (as openpi writes), every other feature is an observation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.reading import ObsArray
from dtql_robot.errors import InputError

STATE, IMAGES, OBS = "observation.state", "observation.images.", "observation"
ACTIONS = ("action", "actions")
REWARDS = ("next.reward", "reward", "rewards")
SUCCESS = ("next.success", "success", "is_success", "next.is_success")
DONE, TRUNCATED, MASKS = "next.done", "next.truncated", "masks"
INDEX = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""What LeRobot itself writes in every row."""
PICTURES = ("video", "image")


@dataclass(frozen=True)
class Feature:
    """One feature.  shape: of a row, (1,) for a number; of pictures (height, width, channels)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: Any = None

    @property
    def is_picture(self) -> bool:
        """Whether its values are frames of a video, or image files in the table."""
        return self.dtype in PICTURES

    @property
    def is_number(self) -> bool:
        """Whether it holds numbers (truth values too) in the table."""
        return not self.is_picture and _numpy(self.dtype) is not None


@dataclass(frozen=True)
class Source:
    """Where an observation comes from: a feature, or a part of its entries that had the shape `shape`."""

    feature: Feature
    start: int = 0
    stop: int | None = None
    shape: tuple[int, ...] = ()

    def stored(self, rows: int) -> ObsArray:
        """How it is stored, as other formats say it."""
        if self.feature.is_picture:
            return ObsArray((rows, *self.feature.shape), np.dtype(np.uint8))
        return ObsArray((rows, *(self.shape or self.feature.shape)), _numpy(self.feature.dtype) or np.dtype(object))


@dataclass(frozen=True)
class Roles:
    """Which feature is what.  obs: key here -> where it comes from.  extras: name here -> (feature, shape of a row)."""

    actions: Feature
    rewards: str | None
    success: str | None
    obs: dict[str, Source]
    extras: dict[str, tuple[Feature, tuple[int, ...]]]
    unread: dict[str, str]

    def key_of(self, asked: str) -> str:
        """The key for a name that the user gave, which may be LeRobot's."""
        same = (key for key, source in self.obs.items() if source.feature.name == asked and source.stop is None)
        return asked if asked in self.obs else next(same, asked)


def _numpy(dtype: str) -> np.dtype[Any] | None:
    try:
        found = np.dtype(dtype)
    except TypeError:
        return None
    return found if found.kind in "biuf" else None


def picture_shape(shape: tuple[int, ...], names: Any) -> tuple[int, ...]:
    """(height, width, channels), from an order that the names tell."""
    first = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    channels_first = first.startswith("channel") or (not first and shape[0] in (1, 3) and shape[-1] not in (1, 3, 4))
    return (*shape[1:], shape[0]) if len(shape) == 3 and channels_first else shape


def obs_key(feature: str) -> str:
    """What an observation is called here."""
    if feature == STATE:
        return OBS
    if feature.startswith(IMAGES):
        name = feature.removeprefix(IMAGES)
        return name if name.endswith("_image") else f"{name}_image"
    return feature.removeprefix(f"{OBS}.")


def roles_of(features: Mapping[str, Feature], own: Mapping[str, Any], place: str) -> Roles:
    """own: what this package noted when it wrote the folder: {"obs": ..., "extras": ...}, or {}."""

    def first(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in features), None)

    actions = first(ACTIONS)
    if actions is None or not features[actions].is_number or len(features[actions].shape) != 1:
        found = "no feature 'action'" if actions is None else f"a feature {actions!r} of {features[actions].shape}"
        raise InputError(
            f"{place} has {found} (only {', '.join(features) or 'nothing'}); expected a vector of numbers."
        )
    rewards, success = first(REWARDS), first(SUCCESS)
    taken = {actions, rewards, success, DONE, TRUNCATED, *INDEX}
    taken |= {MASKS} if "extras" in own else set()  # as this package writes them; else anything may be called so
    rest = [f for name, f in features.items() if name not in taken]
    named = [f for f in rest if f.name.split(".")[0] == OBS]
    seen = [f for f in rest if f in named or not named or f.is_picture]
    obs: dict[str, Source] = {}
    for feature in seen:
        noted = own.get("obs", {}).get(feature.name)
        for key, source in _sources(feature, noted, place).items():
            obs[feature.name if key in obs else key] = source
    others = [f for f in rest if f not in seen]
    extras = dict(_extra(f, own.get("extras", {}).get(f.name)) for f in others if f.is_number)
    unread = {f.name: f"{f.dtype} {f.shape}" for f in others if not f.is_number}
    return Roles(features[actions], rewards, success, obs, extras, unread)


def _extra(feature: Feature, noted: Any) -> tuple[str, tuple[Feature, tuple[int, ...]]]:
    """Name -> feature and shape of a row; LeRobot has (1,) for plain numbers too."""
    shaped = isinstance(noted, list) and len(noted) == 2 and isinstance(noted[1], list)
    if shaped and all(type(n) is int and n > 0 for n in noted[1]) and math.prod(noted[1]) == math.prod(feature.shape):
        return str(noted[0]), (feature, tuple(noted[1]))
    return feature.name, (feature, () if feature.shape == (1,) else feature.shape)


def _sources(feature: Feature, noted: Any, place: str) -> dict[str, Source]:
    """Key -> source of one observation feature, which may be several observations joined."""
    if isinstance(noted, str):
        return {noted: Source(feature)}
    if noted is None:
        return {obs_key(feature.name): Source(feature)}
    found: dict[str, Source] = {}
    start = 0
    parts = noted if isinstance(noted, list) else [None]
    for part in parts:
        if part is None or not _is_part(part):
            raise InputError(
                f"meta/dtql_robot.json of {place} says {str(noted)[:80]!r} of {feature.name!r}; expected a name, or "
                "names with shapes. Remove that file."
            )
        key, shape = str(part[0]), tuple(part[1])
        stop = start + int(np.prod(shape, dtype=np.int64))
        found[key] = Source(feature, start, stop, shape)
        start = stop
    if (start,) != feature.shape or len(found) != len(parts):
        return {obs_key(feature.name): Source(feature)}  # of a folder that another program has changed since
    return found


def _is_part(part: Any) -> bool:
    return (
        isinstance(part, list)
        and len(part) == 2
        and isinstance(part[0], str)
        and isinstance(part[1], list)
        and 0 < len(part[1]) < 9
        and all(type(n) is int and 0 < n < 2**31 for n in part[1])
    )
