"""Write demonstrations as a LeRobot data set, version 3.0 or 2.1, without the package `lerobot`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from dtql_robot.datasets.formats.episode_checks import check_alike, check_episode
from dtql_robot.datasets.formats.hdf5_write import check_room
from dtql_robot.datasets.formats.lerobot.columns import Layout, layout_of, sentence_of, storable_extras
from dtql_robot.datasets.formats.lerobot.folder import INFO, OWN
from dtql_robot.datasets.formats.lerobot.images import encoded
from dtql_robot.datasets.formats.lerobot.meta import OWN_COLUMN, SEVERAL
from dtql_robot.datasets.formats.lerobot.tables_out import Folder, Tasks
from dtql_robot.datasets.formats.robomimic_layout import FOUND
from dtql_robot.env_record import env_kwargs
from dtql_robot.errors import InputError, require_choice, require_whole
from dtql_robot.system.files import new_folder
from dtql_robot.types import Demonstrations, Episode, is_image

Version = Literal["v3.0", "v2.1"]
ASSUMED_FPS = 20.0
"""Steps a second where neither the source nor the record of its environment says how many."""


def save_lerobot(
    demos: Demonstrations,
    path: str | Path,
    *,
    version: Version = "v3.0",
    video: bool = False,
    fps: float | None = None,
    overwrite: bool = False,
    splits: Mapping[str, Sequence[int]] | None = None,
) -> Path:
    """Write `demos` to the folder `path`; `load` returns them unchanged, and LeRobot's own classes read them.

    Low-dimensional observations become `observation.state`, all in one where none is called "observation"; images
    become `observation.images.CAMERA`.  meta/dtql_robot.json and a column of meta/episodes keep what LeRobot has no
    place for: names, the environment's record, attributes, the observation after the last action.
    version: of the format.  video: write mp4 files, which lose a little, instead of PNG files inside the tables.
    fps: steps per second; None: as the source says, else 20.  splits: name -> indices of its episodes.
    Raises InputError without pyarrow (and PyAV for videos), when `path` exists and `overwrite` is not set (an existing
    LeRobot data set is replaced with it), or when an episode is malformed; nothing is left behind then.
    """
    path = Path(path).expanduser()
    require_choice("version", version, get_args(Version))
    for episode in demos.episodes:
        check_episode(episode, path.name)
    check_alike(demos.episodes, path.name)
    layout = layout_of(demos, video)
    rate = fps_of(demos) or ASSUMED_FPS if fps is None else fps
    if not 0 < rate < 1e5:
        raise InputError(f"fps is {rate:g}; expected a number above 0.")
    for name, indices in (splits or {}).items():
        for index in indices:
            require_whole(f"an episode of the split {name!r}", index, 0, len(demos) - 1)
    with new_folder(path, INFO, overwrite) as temporary:
        check_room(temporary, sum(_size(e) for e in demos.episodes))
        _write(demos, temporary, layout, version, rate, splits or {})
    return path


def fps_of(demos: Demonstrations) -> float | None:
    """Steps a second, as the source or its environment's record says; None where neither does."""
    said = (demos.attrs.get("fps"), env_kwargs(demos.env_args).get("control_freq"))
    return next((float(v) for v in said if isinstance(v, (int, float)) and not isinstance(v, bool) and v > 0), None)


def cannot_hold(demos: Demonstrations, video: bool = False) -> list[str]:
    """What of `demos` a LeRobot data set has no place for, in words."""
    kept = storable_extras(demos)
    lost = sorted({k for e in demos.episodes for k in e.extras if k not in kept})
    found = (
        [f"extra arrays that not all episodes have alike, or that hold no values: {', '.join(lost)}"] if lost else []
    )
    pictures = [k for k, v in demos.episodes[0].obs.items() if is_image(v.shape[1:], v.dtype)]
    if video and pictures:
        found.append(
            f"every last bit of {', '.join(pictures)}: videos are compressed (leave out --video for exact images)"
        )
    return found


def _size(episode: Episode) -> int:
    return sum(a.nbytes for a in (*episode.obs.values(), episode.actions, *episode.extras.values())) // 4


def _write(
    demos: Demonstrations, root: Path, layout: Layout, version: Version, fps: float, splits: Mapping[str, Sequence[int]]
) -> None:
    tasks = Tasks()
    folder = Folder(root, layout.columns, fps, several=version == SEVERAL)
    try:
        for index, episode in enumerate(demos.episodes):
            sentence = sentence_of(episode, demos)
            folder.add(index, episode, tasks.number(sentence), sentence, {OWN_COLUMN: json.dumps(_noted(episode))})
    finally:
        videos = folder.close()
    _write_info(demos, folder, tasks, videos, version)
    own = {
        "env_spec": demos.env_spec,
        "env_args": demos.env_args,
        "attrs": demos.attrs,
        **layout.own,
        "filter_keys": {k: [int(i) for i in v] for k, v in splits.items()},
    }
    (root / OWN).write_text(json.dumps(own, indent=2), encoding="utf-8")


def _write_info(
    demos: Demonstrations, folder: Folder, tasks: Tasks, videos: Mapping[str, Any], version: Version
) -> None:
    count, robot = len(demos), demos.attrs.get("robot_type")
    features = {c.name: c.feature() | ({"info": videos[c.name]} if c.name in videos else {}) for c in folder.columns}
    info = {
        "codebase_version": version,
        "robot_type": robot if isinstance(robot, str) else None,
        "total_episodes": count,
        "total_frames": demos.num_transitions,
        "total_tasks": len(tasks.sentences),
        **folder.totals(count),
        "fps": int(folder.fps) if folder.fps == int(folder.fps) else folder.fps,
        "splits": {"train": f"0:{count}"},
        "data_path": folder.data_path,
        "video_path": folder.video_path if videos else None,
        "features": features,
    }
    (folder.root / INFO).write_text(json.dumps(info, indent=4), encoding="utf-8")
    folder.write_tasks(tasks)


def _noted(episode: Episode) -> dict[str, Any]:
    """What LeRobot has no place for, of one episode."""
    said = isinstance(episode.attrs.get("task"), str) and bool(episode.attrs["task"])
    out = {"rewards_missing", *FOUND, *({"task"} if said else ())}
    noted: dict[str, Any] = {
        "terminated": bool(episode.terminated),
        "truncated": bool(episode.truncated),
        "success": episode.success is not None,
        "rewards": not episode.attrs.get("rewards_missing"),
        "masks": episode.masks is not None,
        "task": said,
        "attrs": {k: v for k, v in episode.attrs.items() if k not in out},
    }
    if episode.final_obs is not None:
        noted["final_obs"] = {k: _final(np.asarray(v), episode.obs[k].dtype) for k, v in episode.final_obs.items()}
    return noted


def _final(value: Any, dtype: Any) -> Any:
    if dtype == np.uint8 and value.ndim == 3 and value.shape[2] in (1, 3):
        return base64.b64encode(encoded(value)).decode("ascii")
    return np.asarray(value, dtype).tolist()
