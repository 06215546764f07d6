"""Recorded episodes one by one in files, so that a collection whose process was killed can be taken up."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.system.files import new_file
from dtql_robot.types import Array, Episode

ARRAYS, GROUPS = ("actions", "rewards", "success", "masks"), ("obs", "final_obs", "extras")
PLAIN = ("name", "terminated", "truncated", "attrs")


def write_part(path: Path, episode: Episode) -> None:
    """The episode as a file of arrays; attributes as JSON."""
    arrays: dict[str, Any] = {name: value for name in ARRAYS if (value := getattr(episode, name)) is not None}
    for group in GROUPS:
        values: Mapping[str, Array] | None = getattr(episode, group)
        arrays |= {f"{group}/{key}": value for key, value in (values or {}).items()}
    plain: dict[str, Any] = {name: getattr(episode, name) for name in PLAIN}
    plain["groups"] = [group for group in GROUPS if getattr(episode, group) is not None]
    content = io.BytesIO()
    np.savez(content, _plain=np.frombuffer(json.dumps(plain, default=_plain).encode(), np.uint8), **arrays)
    with new_file(path, overwrite=True) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_part(path: Path) -> Episode:
    """Inverse of `write_part`."""
    with np.load(path, allow_pickle=False) as file:
        found = dict(file)
    plain = json.loads(found.pop("_plain").tobytes())
    there = plain.pop("groups")
    groups: dict[str, Any] = {group: {} if group in there else None for group in GROUPS}
    arrays: dict[str, Any] = dict.fromkeys(ARRAYS)
    for name, value in found.items():
        group, slash, key = name.partition("/")
        if slash:
            groups[group][key] = value
        else:
            arrays[name] = value
    found = {**plain, **arrays, **groups}
    return Episode(**found)


def _plain(value: Any) -> Any:
    """NumPy's numbers in attributes."""
    return value.item()
