"""OGBench's names: of a data set, its file, and its environment.

"cube-single-play-v0" is recorded in "cube-single-play-v0.npz" (with "-val" before ".npz": the validation part).
"cube-single-play-singletask-task2-v0" is the same recording, with the rewards of one task.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from dtql_robot.env_record import OGBENCH_KINDS
from dtql_robot.errors import InputError

OGBENCH_PREFIX = "ogbench:"
_URL = "https://rail.eecs.berkeley.edu/datasets/ogbench"
_FOLDER = "~/.ogbench/data"  # where the package ogbench keeps its data sets
_NAME = re.compile(r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*-v\d+)(?P<val>-val)?")
_TASK = re.compile(r"-singletask(?:-task\d+)?(?=-v\d+$)")


def dataset_name(data: str | Path) -> str | None:
    """The data set's name in what the user typed, without "-val"; None where it names none of OGBench's."""
    found = _NAME.fullmatch(Path(str(data).removeprefix(OGBENCH_PREFIX)).name.removesuffix(".npz"))
    return found["name"] if found and OGBENCH_KINDS & set(found["name"].split("-")) else None


def is_singletask(name: str | None) -> bool:
    """Whether the data set has the rewards of one task."""
    return name is not None and _TASK.search(name) is not None


def environment_of(name: str) -> str:
    """Gymnasium id of the environment that a data set was recorded in."""
    return "-".join(word for word in name.split("-") if word not in OGBENCH_KINDS)


def recording_beside(path: Path) -> Path:
    """The file to read for `path`: itself, or the recording beside it of which `path` names a single task."""
    name = dataset_name(path)
    if path.suffix != ".npz" or name is None or not is_singletask(name) or os.path.lexists(path):
        return path
    recording = path.with_name(path.name.replace(name, _TASK.sub("", name)))
    return recording if recording.is_file() else path


def dataset_file(spec: str) -> Path:
    """The file of "ogbench:NAME" in OGBench's own folder.  InputError, with its address, where it is not there."""
    text = spec.removeprefix(OGBENCH_PREFIX)
    found = _NAME.fullmatch(text)
    if found is None or dataset_name(text) is None:
        raise InputError(
            f"{text!r} is no data set of OGBench; e.g. ogbench:cube-single-play-v0 or "
            "ogbench:cube-single-play-singletask-task2-v0 was expected."
        )
    name = f"{_TASK.sub('', found['name'])}{found['val'] or ''}.npz"
    try:
        folder = Path(_FOLDER).expanduser()
    except RuntimeError as error:
        raise InputError("There is no home folder to look for OGBench's data sets in; name the file itself.") from error
    if not (folder / name).is_file():
        raise InputError(f"{folder / name} is not there. Fetch it from {_URL}/{name}, or name the file itself.")
    return folder / name
