"""What the folder `meta` of a LeRobot data set says: features, episodes, where their rows and frames are, tasks.

Versions 2.0 and 2.1 keep one table and one video an episode, listed in episodes.jsonl; version 3.0 puts several into
each, and says in meta/episodes/*/*.parquet which, and where in a video an episode begins (seconds).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dtql_robot.datasets.formats.lerobot.features import Feature, picture_shape
from dtql_robot.datasets.formats.lerobot.folder import (
    FETCH,
    INFO,
    OWN,
    file_in,
    filled,
    parse,
    read_lines,
    read_text,
)
from dtql_robot.datasets.formats.lerobot.table import Table
from dtql_robot.errors import InputError
from dtql_robot.system import json_shape as js

SINGLE, SEVERAL = ("v2.0", "v2.1"), "v3.0"
OWN_COLUMN = "dtql_robot"
"""Of an episode's row: what LeRobot has no place for, as JSON."""
_FEATURE = js.object_of({"dtype": js.text, "shape": js.list_of(js.whole, at_most=8)})
_SHAPE = js.object_of(
    {
        "codebase_version": js.text,
        "fps": js.between(1e-3, 1e5),
        "features": js.values_of(_FEATURE),
        "data_path": js.text,
    },
    {"video_path": js.optional(js.text), "chunks_size": js.between(1, 2**40), "robot_type": js.optional(js.text)},
)
_OWN_SHAPE = js.object_of(
    {},
    {
        "env_spec": js.optional(js.text),
        "env_args": js.mapping,
        "attrs": js.mapping,
        "obs": js.mapping,
        "extras": js.mapping,
        "filter_keys": js.values_of(js.list_of(js.whole)),
    },
)


@dataclass(frozen=True)
class Clip:
    """Where the frames of one camera are.  start: seconds into the file; None where the file is the episode's own."""

    file: str
    start: float | None = None


@dataclass(frozen=True)
class Recording:
    """One episode: its number, its steps, its table, its videos by feature, and what else is said of it."""

    index: int
    steps: int
    data: str
    clips: dict[str, Clip]
    tasks: tuple[str, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """ "episode_3"."""
        return f"episode_{self.index}"


@dataclass(frozen=True)
class Meta:
    """The data set as a whole.  tasks: number -> sentence.  own: this package's notes, {} where another one wrote it.

    splits: name -> numbers of its episodes.
    """

    root: Path
    version: str
    fps: float
    robot_type: str | None
    features: dict[str, Feature]
    tasks: dict[int, str]
    recordings: tuple[Recording, ...]
    splits: dict[str, list[int]]
    own: dict[str, Any]


def read_meta(root: Path) -> Meta:
    """InputError for a file that is missing or damaged, and for another version."""
    info = parse(read_text(root, INFO), str(root / INFO))
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if isinstance(version, str) and version not in (*SINGLE, SEVERAL):
        raise InputError(
            f"{root} is a LeRobot data set of version {version!r}; {', '.join((*SINGLE, SEVERAL))} are read. Convert "
            "it with lerobot's own scripts first."
        )
    _check(_SHAPE, info, root / INFO)
    own = parse(read_text(root, OWN), str(root / OWN)) if (root / OWN).is_file() else {}
    _check(_OWN_SHAPE, own, root / OWN)
    features = {name: _feature(name, said) for name, said in info["features"].items()}
    several = version == SEVERAL
    tasks = _tasks_of_table(root) if several else _tasks_of_lines(root)
    recordings = tuple((_of_tables if several else _of_lines)(root, info, features))
    if not recordings:
        raise InputError(f"{root} contains no episodes.")
    if len({r.index for r in recordings}) < len(recordings):
        raise InputError(f"The meta folder of {root} lists an episode twice. {FETCH}")
    claimed = info.get("total_episodes", len(recordings))
    if claimed != len(recordings):
        raise InputError(f"{root / INFO} says {claimed} episodes, the folder meta lists {len(recordings)}. {FETCH}")
    splits = own["filter_keys"] if "filter_keys" in own else _splits(info.get("splits"))
    robot = info.get("robot_type")
    return Meta(root, str(version), info["fps"], robot, features, tasks, recordings, splits, own)


def _check(shape: js.Shape, value: Any, path: Path) -> None:
    wrong = shape(value)
    if wrong is not None:
        raise InputError(f"{path}: {wrong}. {FETCH}")


def _feature(name: str, said: dict[str, Any]) -> Feature:
    shape, names = tuple(said["shape"]) or (1,), said.get("names")
    if said["dtype"] in ("video", "image"):
        shape = picture_shape(shape, names)
    return Feature(name, said["dtype"], shape, names)


def _tasks_of_lines(root: Path) -> dict[int, str]:
    lines = read_lines(root, "meta/tasks.jsonl")
    return {line["task_index"]: str(line.get("task", "")) for line in lines if isinstance(line.get("task_index"), int)}


def _tasks_of_table(root: Path) -> dict[int, str]:
    """Sentences are the table's index, under the name that pandas gave it."""
    table = Table(file_in(root, "meta/tasks.parquet"))
    columns = table.read(table.columns).to_pydict()
    table.close()
    sentences = next((v for k, v in columns.items() if k != "task_index" and all(isinstance(t, str) for t in v)), None)
    if sentences is None or "task_index" not in columns:
        raise InputError(f"{table.path} has columns {table.columns}; expected task_index and sentences. {FETCH}")
    return dict(zip(columns["task_index"], sentences, strict=True))


def _of_lines(root: Path, info: dict[str, Any], features: dict[str, Feature]) -> Iterator[Recording]:
    """Versions 2.0 and 2.1."""
    lines = read_lines(root, "meta/episodes.jsonl")
    videos = [name for name, f in features.items() if f.dtype == "video"]
    for line in sorted(lines, key=lambda row: _whole(row, "episode_index", root)):
        index = _whole(line, "episode_index", root)
        values: dict[str, str | int] = {"episode_index": index, "episode_chunk": index // info.get("chunks_size", 1000)}
        data = filled(info["data_path"], values, root)
        clips = {key: Clip(filled(_video_path(info, root), {**values, "video_key": key}, root)) for key in videos}
        yield _recording(line, index, data, clips, root)


def _of_tables(root: Path, info: dict[str, Any], features: dict[str, Feature]) -> Iterator[Recording]:
    """Version 3.0."""
    videos = [name for name, f in features.items() if f.dtype == "video"]
    rows: list[dict[str, Any]] = []
    for path in sorted((root / "meta/episodes").glob("*/*.parquet")):
        table = Table(file_in(root, path.relative_to(root).as_posix()))
        wanted = [c for c in table.columns if not c.startswith("stats/")]
        rows += table.read(wanted).to_pylist()
        table.close()
    if not rows:
        raise InputError(f"{root} has no meta/episodes/*/*.parquet, which lists its episodes. {FETCH}")
    for row in sorted(rows, key=lambda row: _whole(row, "episode_index", root)):
        where: dict[str, str | int] = {k: _whole(row, f"data/{k}", root) for k in ("chunk_index", "file_index")}
        clips = {}
        for key in videos:
            place = {k: _whole(row, f"videos/{key}/{k}", root) for k in ("chunk_index", "file_index")}
            start = row.get(f"videos/{key}/from_timestamp")
            if not isinstance(start, float) or not 0 <= start < 1e9:
                raise InputError(f"meta/episodes of {root} has no start time of {key!r} for an episode. {FETCH}")
            clips[key] = Clip(filled(_video_path(info, root), {**place, "video_key": key}, root), start)
        index = _whole(row, "episode_index", root)
        yield _recording(row, index, filled(info["data_path"], where, root), clips, root)


_LAYOUT = re.compile(r"(episode_index|length|tasks|dataset_(from|to)_index|(data|videos|meta)/.*|task_index)")


def _recording(row: dict[str, Any], index: int, data: str, clips: dict[str, Clip], root: Path) -> Recording:
    steps = _whole(row, "length", root)
    tasks = row.get("tasks")
    noted = row.get(OWN_COLUMN)
    own = parse(noted, f"{OWN_COLUMN!r} of episode {index} in {root}") if isinstance(noted, str) else noted
    attrs = {k: v for k, v in row.items() if not _LAYOUT.fullmatch(k) and k != OWN_COLUMN and _is_plain(v)}
    if steps < 1:
        raise InputError(f"meta of {root} says {steps} steps of episode {index}; expected at least one. {FETCH}")
    sentences = tuple(str(t) for t in tasks) if isinstance(tasks, list) else ()
    return Recording(index, steps, data, clips, sentences, attrs, own if isinstance(own, dict) else None)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float))


def _whole(row: dict[str, Any], key: str, root: Path) -> int:
    value = row.get(key)
    if type(value) is not int or not 0 <= value < 2**48:
        raise InputError(
            f"meta of {root} has {str(value)[:40]!r} as {key!r} of an episode; expected a whole number. {FETCH}"
        )
    return value


def _video_path(info: dict[str, Any], root: Path) -> str:
    if not isinstance(info.get("video_path"), str):
        raise InputError(f"{root / INFO} lists videos but no video_path to find them. {FETCH}")
    return str(info["video_path"])


def _splits(said: Any) -> dict[str, list[int]]:
    """{"train": "0:50"} -> {"train": [0, ..., 49]}; what is written in another way is left out."""
    found = {}
    for name, text in said.items() if isinstance(said, dict) else ():
        chosen = indices(text) if isinstance(text, str) else None
        if chosen is not None:
            found[str(name)] = chosen
    return found


def indices(text: str) -> list[int] | None:
    """ "0:3,7" -> [0, 1, 2, 7]; None where the text is something else."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?::(\d{1,9}))?\s*", part)
        if match is None or (match[2] and int(match[2]) - int(match[1]) > 10**7):
            return None
        found += range(int(match[1]), int(match[2])) if match[2] else [int(match[1])]
    return list(dict.fromkeys(found))
