"""What this package's .npz files say besides OGBench's arrays: JSON, as the bytes of an array `record`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.hdf5_attrs import parse_json_object
from dtql_robot.datasets.formats.npz_archive import NpzArchive
from dtql_robot.env_record import check_record
from dtql_robot.errors import InputError
from dtql_robot.types import Array

RECORD = "record"
"""The array's name."""
_KEYS = {"env_spec", "env_args", "attrs", "episodes", "plain_extras"}


@dataclass(frozen=True)
class Record:
    """env_spec, env_args, attrs: as in `Demonstrations`.

    episodes      number of a recording -> {"name", "truncated", "final_obs", "attrs"}, as far as there is anything
    plain_extras  arrays that are extras under their own name, not below "infos/"
    """

    env_spec: str | None = None
    env_args: dict[str, Any] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    episodes: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    plain_extras: frozenset[str] = frozenset()

    def to_array(self) -> Array:
        """(bytes,) uint8, for the file."""
        content = {
            "env_spec": self.env_spec,
            "env_args": self.env_args,
            "attrs": self.attrs,
            "episodes": [self.episodes.get(i, {}) for i in range(max(self.episodes, default=-1) + 1)],
            "plain_extras": sorted(self.plain_extras),
        }
        return np.frombuffer(json.dumps(content).encode(), np.uint8)


def read_record(archive: NpzArchive, recordings: int) -> Record:
    """The record in `archive`; an empty one where there is none, or an array of another meaning has its name."""
    stored = archive.described.get(RECORD)
    if stored is None or stored.dtype != np.uint8 or len(stored.shape) != 1:
        return Record()
    place = f"{RECORD!r} of {archive.path.name}"
    content = parse_json_object(archive.read(RECORD).tobytes().decode("utf-8", "replace"), place)
    kinds = {"env_args": dict, "attrs": dict, "episodes": list, "plain_extras": list}
    wrong = [k for k in _KEYS if not isinstance(content.get(k, kinds.get(k, str)()), kinds.get(k, (str, type(None))))]
    episodes = content.get("episodes") or []
    if wrong or not all(isinstance(e, dict) and isinstance(e.get("attrs", {}), dict) for e in episodes):
        raise InputError(f"{place} is not what this package writes: it is damaged. Fetch or write the file again.")
    if episodes and len(episodes) != recordings:
        raise InputError(
            f"{place} describes {len(episodes)} recordings, 'terminals' ends {recordings}: the file was changed. "
            "Leave the record out, or write the file again."
        )
    return Record(
        content.get("env_spec"),
        check_record(content.get("env_args") or {}, place),
        content.get("attrs") or {},
        dict(enumerate(episodes)),
        frozenset(map(str, content.get("plain_extras") or [])),
    )
