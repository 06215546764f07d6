"""Named subsets of a LeRobot data set's episodes, which this package keeps in its own notes beside LeRobot's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dtql_robot.datasets.formats.lerobot.folder import OWN, parse, read_text
from dtql_robot.errors import InputError
from dtql_robot.system.files import write_json


def _notes(root: Path) -> dict[str, Any]:
    if not (root / OWN).is_file():
        return {}
    found = parse(read_text(root, OWN), str(root / OWN))
    if not isinstance(found, dict) or not isinstance(found.get("filter_keys", {}), dict):
        raise InputError(f"{root / OWN} contains no object with filter_keys. Remove that file.")
    return found


def read_subsets(root: Path) -> dict[str, list[int]]:
    """Name -> indices of its episodes."""
    return dict(_notes(root).get("filter_keys", {}))


def write_subsets(root: Path, masks: Mapping[str, Sequence[str]], remove: Sequence[str] = ()) -> None:
    """Add or replace subsets of episodes by name ("episode_3"), and remove some; other files stay as they are."""
    notes = _notes(root)
    kept = {k: v for k, v in notes.get("filter_keys", {}).items() if k not in remove}
    new = {key: [int(name.removeprefix("episode_")) for name in names] for key, names in masks.items()}
    write_json(root / OWN, {**notes, "filter_keys": {**kept, **new}})
