"""The features that demonstrations become, and their values of one episode as columns of a table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.lerobot.features import ACTIONS, DONE, IMAGES, INDEX, MASKS, OBS, STATE, TRUNCATED
from dtql_robot.datasets.formats.lerobot.images import encoded
from dtql_robot.datasets.formats.lerobot.table import pyarrow
from dtql_robot.types import Array, Demonstrations, Episode, image_fault, is_image

REWARDS, SUCCESS = "next.reward", "next.success"
_DEEPEST = 5


@dataclass(frozen=True)
class Column:
    """One feature.  shape: of a row, (1,) for numbers.  values: an episode's rows (T, *shape)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: Callable[[Episode], Array]
    names: list[str] | None = None

    def feature(self) -> dict[str, Any]:
        """What info.json says of it."""
        names = ["height", "width", "channels"] if self.dtype in ("image", "video") else self.names
        return {"dtype": self.dtype, "shape": list(self.shape), "names": names}

    def arrow(self, rows: Array) -> Any:
        """The rows as pyarrow holds them."""
        pa = pyarrow()
        if self.dtype == "image":
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            return pa.array([{"bytes": encoded(row), "path": None} for row in rows], kind)
        values = pa.array(np.ascontiguousarray(rows).reshape(-1))
        if self.shape == (1,):
            return values
        if len(self.shape) == 1:
            return pa.FixedSizeListArray.from_arrays(values, self.shape[0])
        for axis in reversed(range(len(self.shape))):
            step = self.shape[axis]
            values = pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, step, dtype=np.int32)), values)
        return values

    def hugging_face(self) -> dict[str, Any]:
        """The same for the package `datasets`, by which LeRobot reads tables."""
        if self.dtype == "image":
            return {"_type": "Image"}
        value = {"dtype": self.dtype, "_type": "Value"}
        if self.shape == (1,):
            return value
        if len(self.shape) == 1:
            return {"feature": value, "length": self.shape[0], "_type": "Sequence"}
        return {"shape": list(self.shape), "dtype": self.dtype, "_type": f"Array{len(self.shape)}D"}


@dataclass(frozen=True)
class Layout:
    """columns: of the table and of videos.  own: what this package notes to read all of it back."""

    columns: tuple[Column, ...]
    own: dict[str, Any]


def layout_of(demos: Demonstrations, video: bool) -> Layout:
    """video: pictures become frames of mp4 files instead of PNG files in the table."""
    first = demos.episodes[0]
    given = demos.attrs.get("names")
    names: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    taken = {*INDEX, *ACTIONS, REWARDS, SUCCESS, DONE, TRUNCATED, MASKS}
    columns = [_action(demos.action_dim, names)]
    obs: dict[str, Any] = {}
    low = {k: v for k, v in first.obs.items() if not is_image(v.shape[1:], v.dtype)}
    if low and OBS not in low:
        columns.append(_joined(low, names))
        obs[STATE] = [[key, list(v.shape[1:])] for key, v in low.items()]
        taken.add(STATE)
    for key, value in first.obs.items():
        if key not in low or OBS in low:
            columns.append(_observation(key, value, video, taken, names))
            obs[columns[-1].name] = key
    columns += _labels(demos)
    extras: dict[str, Any] = {}
    for key, value in storable_extras(demos).items():
        columns.append(_extra(key, value, taken))
        extras[columns[-1].name] = [key, list(value.shape[1:])]
    return Layout(tuple(columns), {"obs": obs, "extras": extras})


def storable_extras(demos: Demonstrations) -> dict[str, Array]:
    """Extras of the first episode that all episodes have alike."""
    first, others = demos.episodes[0], demos.episodes[1:]

    def alike(key: str, value: Array) -> bool:
        return all(
            key in e.extras and e.extras[key].dtype == value.dtype and e.extras[key].shape[1:] == value.shape[1:]
            for e in others
        )

    return {k: v for k, v in first.extras.items() if 0 not in v.shape and alike(k, v)}


def _name(text: str, taken: set[str]) -> str:
    """A name that LeRobot takes, and that can be a folder's."""
    plain = re.sub(r"[^\w.-]", "_", text.replace("/", ".")).lstrip(".") or "_"
    name = next(n for i in range(len(taken) + 2) if (n := plain if not i else f"{plain}_{i}") not in taken)
    taken.add(name)
    return name


def _entries(feature: str, names: Mapping[str, Any], plain: list[str]) -> list[str]:
    given = names.get(feature)
    good = isinstance(given, list) and len(given) == len(plain) and all(isinstance(n, str) for n in given)
    return list(given) if good and given is not None else plain


def _action(dims: int, names: Mapping[str, Any]) -> Column:
    entries = _entries("action", names, [f"action_{i}" for i in range(dims)])
    return Column("action", "float32", (dims,), lambda e: np.asarray(e.actions, np.float32), entries)


def _joined(low: Mapping[str, Array], names: Mapping[str, Any]) -> Column:
    """All low-dimensional observations as one, which LeRobot's policies look for."""
    sizes = {key: int(np.prod(v.shape[1:])) for key, v in low.items()}
    plain = [key if size == 1 else f"{key}.{i}" for key, size in sizes.items() for i in range(size)]
    entries = _entries(STATE, names, plain)

    def values(episode: Episode) -> Array:
        return np.concatenate([episode.obs[key].reshape(len(episode), -1) for key in sizes], axis=1)

    return Column(STATE, "float32", (len(plain),), values, entries)


def _observation(key: str, value: Array, video: bool, taken: set[str], names: Mapping[str, Any]) -> Column:
    shape = value.shape[1:]
    if image_fault(shape, value.dtype) is None and is_image(shape, value.dtype):
        plain = f"{IMAGES}{key.removesuffix('_image')}" if key.endswith("_image") else f"{OBS}.{key}"
        return Column(_name(plain, taken), "video" if video else "image", shape, lambda e: e.obs[key])
    name = _name(STATE if key == OBS else f"{OBS}.{key}", taken)
    return _numbers(name, value, lambda e: e.obs[key], names)


def _numbers(name: str, value: Array, values: Callable[[Episode], Array], names: Mapping[str, Any]) -> Column:
    shape = value.shape[1:] or (1,)
    shape = shape if len(shape) <= _DEEPEST else (int(np.prod(shape)),)
    entries = None
    if len(shape) == 1 and isinstance(names.get(name), list) and len(names[name]) == shape[0]:
        entries = [str(n) for n in names[name]]
    return Column(name, str(value.dtype), shape, lambda e: values(e).reshape(len(e), *shape), entries)


def _labels(demos: Demonstrations) -> list[Column]:
    """Rewards, success, ends and masks, where any episode has them."""
    found = []
    if any(not e.attrs.get("rewards_missing") for e in demos.episodes):
        found.append(Column(REWARDS, "float32", (1,), lambda e: np.asarray(e.rewards, np.float32)[:, None]))
    if any(e.success is not None for e in demos.episodes):
        found.append(Column(SUCCESS, "bool", (1,), lambda e: _flags(e.success, e, False)))
    if any(e.masks is not None for e in demos.episodes):
        found.append(Column(MASKS, "bool", (1,), lambda e: _flags(e.masks, e, True)))
    found.append(Column(DONE, "bool", (1,), lambda e: _last(e, True)))
    found.append(Column(TRUNCATED, "bool", (1,), lambda e: _last(e, e.truncated)))
    return found


def _flags(values: Array | None, episode: Episode, otherwise: bool) -> Array:
    flags = np.full(len(episode), otherwise) if values is None else np.asarray(values, bool).reshape(-1)
    return flags[:, None]


def _last(episode: Episode, value: bool) -> Array:
    return (np.arange(len(episode)) == len(episode) - 1)[:, None] & value


def _extra(key: str, value: Array, taken: set[str]) -> Column:
    name = _name(f"extra.{key}" if key.split(".")[0] in (OBS, "action") else key, taken)
    return _numbers(name, value, lambda e: e.extras[key], {})


def sentence_of(episode: Episode, demos: Demonstrations) -> str:
    """What the robot is to do, in words: the episode's own, else the source's; "" where nobody says."""
    tasks = episode.attrs.get("tasks")
    problem = demos.attrs.get("problem_info")  # of LIBERO
    if isinstance(problem, str) and problem.startswith("{"):
        try:
            problem = json.loads(problem)
        except (ValueError, RecursionError):
            problem = None
    said = (
        episode.attrs.get("task"),
        tasks[0] if isinstance(tasks, list) and tasks else None,
        episode.attrs.get("language_instruction"),
        demos.attrs.get("task"),
        demos.attrs.get("language_instruction"),
        problem.get("language_instruction") if isinstance(problem, dict) else None,
    )
    return next((text for text in said if isinstance(text, str)), "")
