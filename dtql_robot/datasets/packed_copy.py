"""Demonstrations as flat files that are mapped into memory instead of read: what the cache is made of.

One file an array name (all episodes' rows one after the other, raw bytes) and `index.json`, which has a digest of each
and of itself.  Mapped arrays cost no memory until they are looked at, and the operating system takes it back when it
needs it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dtql_robot.datasets.formats.reading import ObsArray, Reading
from dtql_robot.system.remembered import content_digest, remembered
from dtql_robot.types import Array, Demonstrations, Episode

INDEX = "index.json"
_VERSION = 2


class CannotPackError(Exception):
    """The disk is full, or cannot be written to: nothing is wrong with what was read."""


class Packer:
    """Takes episodes one by one, so that what is packed need never be in memory.  CannotPackError if the disk fails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}
        self._columns: dict[str, dict[str, Any]] = {}
        self._episodes: list[dict[str, Any]] = []

    def add(self, episode: Episode) -> Episode:
        """Write its arrays; returns the episode with hollow arrays (right shapes, no memory) in their place."""
        record: dict[str, Any] = {
            "name": episode.name,
            "terminated": episode.terminated,
            "truncated": episode.truncated,
            "attrs": episode.attrs,
            "final": episode.final_obs is not None,
            "arrays": {},
        }
        arrays = _arrays(episode)
        record["arrays"] = {name: self._append(name, array) for name, array in arrays.items()}
        self._episodes.append(record)
        return _with_arrays(record, {name: np.broadcast_to(a.dtype.type(0), a.shape) for name, a in arrays.items()})

    def _append(self, name: str, array: Array) -> list[Any]:
        """[column, first row, rows] of the array; arrays of one name but other dtype or shape get their own column."""
        column = f"{name}|{array.dtype.str}|{array.shape[1:]}"
        if column not in self._columns:
            file = f"{len(self._columns)}.bin"
            self._columns[column] = {"file": file, "dtype": array.dtype.str, "shape": list(array.shape[1:]), "rows": 0}
            with _packing():
                self._files[column] = (self._folder / file).open("wb")
        described = self._columns[column]
        start = described["rows"]
        with _packing():
            self._files[column].write(np.ascontiguousarray(array).data)
        described["rows"] += len(array)
        return [column, start, len(array)]

    def close(self) -> None:
        """Let go of the files, also where packing has failed."""
        for file in self._files.values():
            with suppress(OSError):
                file.close()

    def finish(self, reading: Reading) -> None:
        """Write the index; `reading` holds the hollow episodes."""
        with _packing():
            for file in self._files.values():
                file.close()
            for column in self._columns.values():
                column["digest"] = remembered(self._folder / column["file"], "sha256", content_digest)
        demos = reading.demos
        index = {
            "version": _VERSION,
            "columns": self._columns,
            "episodes": self._episodes,
            "demos": {k: getattr(demos, k) for k in ("format", "env_spec", "env_args", "attrs")},
            "notes": list(reading.notes),
            "left_out": reading.left_out,
            "filter_keys": reading.filter_keys,
            "names": list(reading.names),
            "unread": reading.unread,
            "available": {k: {**asdict(v), "dtype": v.dtype.str} for k, v in reading.available.items()},
        }
        with _packing():
            text = json.dumps(index)
            (self._folder / INDEX).write_text(f"{_digest(text)}\n{text}", encoding="utf-8")


@contextmanager
def _packing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotPackError(error.strerror or str(error)) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def unpack(folder: Path, source: str) -> Reading:
    """Map what a `Packer` wrote.  ValueError, OSError or KeyError where it is not whole."""
    digest, text = (folder / INDEX).read_text(encoding="utf-8").split("\n", 1)
    if digest != _digest(text):
        raise ValueError(f"{folder / INDEX} has another content")
    index = json.loads(text)
    if index["version"] != _VERSION:
        raise ValueError(f"version {index['version']}")
    columns = {name: _map(folder, column) for name, column in index["columns"].items()}
    episodes = []
    for record in index["episodes"]:
        arrays = {n: columns[column][start : start + rows] for n, (column, start, rows) in record["arrays"].items()}
        episodes.append(_with_arrays(record, arrays))
    demos = Demonstrations(tuple(episodes), source, **index["demos"])
    available = {k: _obs_array(v) for k, v in index["available"].items()}
    return Reading(
        demos,
        tuple(index["notes"]),
        index["left_out"],
        index["filter_keys"],
        available,
        tuple(index["names"]),
        index["unread"],
    )


def _map(folder: Path, column: Mapping[str, Any]) -> Array:
    shape = (column["rows"], *column["shape"])
    dtype = np.dtype(column["dtype"])
    path = folder / column["file"]
    if path.stat().st_size != int(np.prod(shape)) * dtype.itemsize:
        raise ValueError(f"{path} has another size")
    if remembered(path, "sha256", content_digest) != column["digest"]:
        raise ValueError(f"{path} has another content")
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "c", shape=shape))  # "c": writing to it changes this process alone


def _obs_array(described: Mapping[str, Any]) -> ObsArray:
    return ObsArray(tuple(described["shape"]), np.dtype(described["dtype"]), described["jpeg"])


def _arrays(episode: Episode) -> dict[str, Array]:
    """Every array of the episode under a name; final observations with a leading axis of one."""
    arrays = {"actions": episode.actions, "rewards": episode.rewards}
    if episode.success is not None:
        arrays["success"] = episode.success
    if episode.masks is not None:
        arrays["masks"] = episode.masks
    arrays |= {f"obs/{k}": v for k, v in episode.obs.items()}
    arrays |= {f"final/{k}": np.asarray(v)[None] for k, v in (episode.final_obs or {}).items()}
    arrays |= {f"extras/{k}": v for k, v in episode.extras.items()}
    return arrays


def _with_arrays(record: Mapping[str, Any], arrays: Mapping[str, Array]) -> Episode:
    def below(prefix: str) -> dict[str, Array]:
        return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}

    return Episode(
        name=record["name"],
        obs=below("obs/"),
        final_obs={k: v[0] for k, v in below("final/").items()} if record["final"] else None,
        actions=arrays["actions"],
        rewards=arrays["rewards"],
        terminated=record["terminated"],
        truncated=record["truncated"],
        success=arrays.get("success"),
        extras=below("extras/"),
        attrs=dict(record["attrs"]),
        masks=arrays.get("masks"),
    )
