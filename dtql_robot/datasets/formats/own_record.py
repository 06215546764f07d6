"""What this package's flat files (OGBench's and D4RL's layout) say besides their arrays: JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dtql_robot.datasets.formats.hdf5_attrs import parse_json_object
from dtql_robot.env_record import check_record
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations, Episode

RECORD = "record"
"""The name under which it is kept."""
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

    def to_text(self) -> str:
        """JSON, for the file."""
        content = {
            "env_spec": self.env_spec,
            "env_args": self.env_args,
            "attrs": self.attrs,
            "episodes": [self.episodes.get(i, {}) for i in range(max(self.episodes, default=-1) + 1)],
            "plain_extras": sorted(self.plain_extras),
        }
        return json.dumps(content)


def record_of(demos: Demonstrations, told_by_arrays: set[str]) -> Record:
    """The record of `demos`.  told_by_arrays: attributes of episodes that the file's arrays say."""

    def described(episode: Episode) -> dict[str, Any]:
        return {
            "name": episode.name,
            "truncated": bool(episode.truncated),
            "final_obs": episode.final_obs is not None,
            "attrs": {k: v for k, v in episode.attrs.items() if k not in told_by_arrays},
        }

    plain = frozenset(k for k in demos.episodes[0].extras if not k.startswith("infos/"))
    return Record(demos.env_spec, demos.env_args, demos.attrs, dict(enumerate(map(described, demos.episodes))), plain)


def parse_record(text: str, place: str, recordings: int, marks: str) -> Record:
    """The record in `text`.  InputError naming `place` where it is damaged, or describes other recordings.

    recordings: how many the file has, by what `marks` names.
    """
    content = parse_json_object(text, place)
    kinds = {"env_args": dict, "attrs": dict, "episodes": list, "plain_extras": list}
    wrong = [k for k in _KEYS if not isinstance(content.get(k, kinds.get(k, str)()), kinds.get(k, (str, type(None))))]
    episodes = content.get("episodes") or []
    if wrong or not all(isinstance(e, dict) and isinstance(e.get("attrs", {}), dict) for e in episodes):
        raise InputError(f"{place} is not what this package writes: it is damaged. Fetch or write the file again.")
    if episodes and len(episodes) != recordings:
        raise InputError(
            f"{place} describes {len(episodes)} recordings, {marks} ends {recordings}: the file was changed. "
            "Leave the record out, or write the file again."
        )
    return Record(
        content.get("env_spec"),
        check_record(content.get("env_args") or {}, place),
        content.get("attrs") or {},
        dict(enumerate(episodes)),
        frozenset(map(str, content.get("plain_extras") or [])),
    )
