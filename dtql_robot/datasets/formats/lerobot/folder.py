"""The files of a LeRobot folder: found by the templates in its own info.json, and never outside it."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtql_robot.errors import InputError
from dtql_robot.system.json_text import parse_json

INFO = "meta/info.json"
OWN = "meta/dtql_robot.json"
"""What this package notes beside LeRobot's own files: names, the environment, subsets."""
FETCH = "Fetch the data set again."
_FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")
_LARGEST_JSON = 2**28


def is_lerobot_folder(folder: Path) -> bool:
    """Whether a LeRobot data set lies in this folder."""
    return (folder / INFO).is_file()


def filled(template: str, values: Mapping[str, str | int], root: Path) -> str:
    """A path template of info.json with its {fields} replaced.  InputError for a field that there is no value for."""

    def value(found: re.Match[str]) -> str:
        name, digits = found[1], found[2]
        if name not in values:
            raise InputError(f"{INFO} of {root} has a path {template!r} with the unknown field {name!r}.")
        given = values[name]
        return f"{given:0{int(digits)}d}" if digits and isinstance(given, int) else str(given)

    path = _FIELD.sub(value, template)
    if "{" in path or "\0" in path:
        raise InputError(f"{INFO} of {root} has a malformed path {template!r}.")
    return path


def file_in(root: Path, name: str) -> Path:
    """The regular file `name` below `root`.  InputError where it is missing, or lies elsewhere.

    A link may lead within the folder, or to the blobs of the Hugging Face cache that the folder is a snapshot of.
    """
    path = root / name
    try:
        real, home = path.resolve(strict=True), root.resolve()
        kind = real.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(f"{root} has no {name}, which its {INFO} lists. {FETCH}") from error
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}.") from error
    blobs = home.parent.parent / "blobs"
    cached = home.parent.name == "snapshots" and real.is_relative_to(blobs)
    if not (real.is_relative_to(home) or cached) or not stat.S_ISREG(kind):
        raise InputError(
            f"{path} points outside the data set or is not a regular file; nothing outside it is read. Copy the data "
            "set with its content first: `cp -rL`."
        )
    return real


def read_text(root: Path, name: str) -> str:
    """Text of a small file below `root`.  InputError where it is none."""
    path = file_in(root, name)
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise InputError(f"{root / name} has {path.stat().st_size} bytes, too many for metadata.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{root / name} cannot be read ({error}). {FETCH}") from error


def parse(text: str, place: str) -> Any:
    """Value of a JSON text.  InputError naming `place` where it is damaged."""
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"{place} is not JSON ({error}). {FETCH}") from error


def read_lines(root: Path, name: str) -> list[dict[str, Any]]:
    """The objects of a .jsonl file, one per line."""
    found = []
    for number, line in enumerate(read_text(root, name).split("\n"), 1):
        if line.strip():
            value = parse(line, f"line {number} of {root / name}")
            if not isinstance(value, dict):
                raise InputError(f"line {number} of {root / name} contains no object. {FETCH}")
            found.append(value)
    return found
