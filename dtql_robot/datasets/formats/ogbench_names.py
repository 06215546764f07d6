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


def validation_part(data: str, recording: Path) -> Path | None:
    """What to read for the part -val of the data set that `data` names; None where it is not beside the recording."""
    name = dataset_name(data)
    if name is None or data.removesuffix(".npz").endswith("-val"):
        return None
    part = recording.with_name(f"{recording_name(name)}-val.npz")
    return recording.with_name(f"{name}-val.npz") if part.is_file() else None


def recording_name(name: str) -> str:
    """Of "cube-single-play-v0", "-v0-val", or a single task of it, the name of the recording's file without ".npz".

    InputError for what is no name of OGBench's.
    """
    found = _NAME.fullmatch(name)
    if found is None or dataset_name(name) is None:
        raise InputError(
            f"{name!r} is not an OGBench data set; expected e.g. ogbench:cube-single-play-v0 or "
            "ogbench:cube-single-play-singletask-task2-v0."
        )
    return f"{_TASK.sub('', found['name'])}{found['val'] or ''}"


def own_folder() -> Path | None:
    """Where the package ogbench keeps its data sets; None where there is no home folder."""
    try:
        return Path(_FOLDER).expanduser()
    except RuntimeError:
        return None
