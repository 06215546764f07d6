"""Write demonstrations as robomimic HDF5."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats.episode_checks import check_alike, check_episode
from dtql_robot.datasets.formats.hdf5_write import writing
from dtql_robot.datasets.formats.robomimic_layout import (
    ATTRS_JSON,
    HAS_FINAL_OBS,
    HAS_MASKS,
    HAS_SUCCESS,
    MAIN_KEYS,
    OWN_ATTRS,
    OWN_FILE_ATTRS,
)
from dtql_robot.env_record import record_as
from dtql_robot.errors import InputError
from dtql_robot.system.files import expanded, new_file
from dtql_robot.types import Demonstrations, Episode, is_image


def save_robomimic(
    demos: Demonstrations,
    path: str | Path,
    *,
    overwrite: bool = False,
    masks: Mapping[str, Sequence[int]] | None = None,
) -> Path:
    """Write `demos` to the robomimic file `path`; `load` returns them unchanged, and robomimic's own classes read it.

    Episodes are named demo_0, demo_1, ... in order.  masks: filter key -> indices of its episodes.
    `dones` is 1 at the last step of a terminated episode and 0 elsewhere.  If an episode has no final observation,
    the last row of next_obs repeats the last observation, since robomimic expects one, and an attribute says so.
    robomimic itself reads only observation keys without "/".
    Raises InputError when `path` exists and `overwrite` is not set, or when an episode is malformed; nothing is
    left behind then.
    """
    name = Path(path).name
    for episode in demos.episodes:  # before anything is written
        check_episode(episode, name)
    check_alike(demos.episodes, name)
    return save_robomimic_stream(
        demos.episodes,
        path,
        env_args=record_as(demos.env_spec or "", demos.env_args),
        attrs=demos.attrs,
        overwrite=overwrite,
        masks=masks,
    )


def save_robomimic_stream(
    episodes: Iterable[Episode],
    path: str | Path,
    *,
    env_args: Mapping[str, Any],
    attrs: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    masks: Mapping[str, Sequence[int]] | None = None,
) -> Path:
    """As `save_robomimic` for episodes that come one by one and are never all in memory."""
    path = expanded(Path(path))
    with new_file(path, overwrite) as temporary, writing(temporary, "w", libver=("earliest", "v110")) as file:
        data = file.create_group("data")
        first: Episode | None = None
        count = total = 0
        for count, episode in enumerate(episodes, 1):
            check_episode(episode, path.name)
            first = first or episode
            check_alike((first, episode), path.name)
            _write_episode(data.create_group(f"demo_{count - 1}"), episode, path.name)
            total += len(episode)
        if not count:
            raise InputError(f"{path.name} contains no episodes.")
        _put_attrs(data, {k: v for k, v in (attrs or {}).items() if k not in OWN_FILE_ATTRS})
        data.attrs["total"] = total
        data.attrs["env_args"] = json.dumps(env_args)
        for key, indices in (masks or {}).items():
            file[f"mask/{key}"] = _mask(key, indices, count, path.name)
    return path


def _write_episode(group: h5py.Group, episode: Episode, file: str) -> None:
    dones = np.zeros(len(episode), np.int64)
    dones[-1] = episode.terminated
    group["actions"] = np.asarray(episode.actions, np.float32)
    group["rewards"] = np.asarray(episode.rewards, np.float32).reshape(-1)
    group["dones"] = dones
    for key, value in episode.obs.items():
        final = value[-1] if episode.final_obs is None else episode.final_obs[key]
        _put(group, f"obs/{key}", value, file)
        _put(group, f"next_obs/{key}", np.concatenate([value[1:], np.asarray(final, value.dtype)[None]]), file)
    if episode.success is not None:
        group["success"] = np.asarray(episode.success, bool).reshape(-1)
    if episode.masks is not None:
        group["masks"] = np.asarray(episode.masks, bool).reshape(-1)
    for key, value in episode.extras.items():
        if key.split("/")[0] in MAIN_KEYS or (key == "masks" and episode.masks is not None):
            raise InputError(f"{episode.name}: extra array {key!r} cannot be written to {file}: the name is taken.")
        _put(group, key, value, file)
    _write_attrs(group, episode)


def _put(group: h5py.Group, key: str, value: Any, file: str) -> None:
    try:
        if is_image(np.shape(value)[1:], value.dtype):  # a frame a chunk: any one can be read alone
            group.create_dataset(key, data=value, chunks=(1, *value.shape[1:]), compression="gzip", compression_opts=1)
        else:
            group.create_dataset(key, data=value)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(f"{key!r} cannot be an array's name in {file} ({error}). Rename it.") from error


def _write_attrs(group: h5py.Group, episode: Episode) -> None:
    group.attrs["num_samples"] = len(episode)
    group.attrs["terminated"] = bool(episode.terminated)
    group.attrs["truncated"] = bool(episode.truncated)
    group.attrs[HAS_SUCCESS] = episode.success is not None
    group.attrs[HAS_FINAL_OBS] = episode.final_obs is not None
    if episode.masks is not None:
        group.attrs[HAS_MASKS] = True
    _put_attrs(group, {k: v for k, v in episode.attrs.items() if k not in OWN_ATTRS})


def _put_attrs(group: h5py.Group, attrs: Mapping[str, Any]) -> None:
    """Texts and numbers under their own names, where others look for them; what HDF5 cannot hold as JSON in one."""
    own = [k for k, v in attrs.items() if k.isidentifier() and _is_native(v)]  # in order: a set's is chance
    for key in own:
        group.attrs[key] = attrs[key]
    rest = {k: v for k, v in attrs.items() if k not in own}
    if rest:
        group.attrs[ATTRS_JSON] = json.dumps(rest)


def _is_native(value: Any) -> bool:
    """Whether HDF5 gives the value back as it is."""
    if isinstance(value, str):
        return value.isprintable() or ("\0" not in value and value.encode(errors="ignore").decode() == value)
    return isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**63)


def _mask(key: str, indices: Sequence[int], count: int, file: str) -> Any:
    for index in indices:
        if not 0 <= index < count:
            raise InputError(f"Filter key {key!r} names episode {index}, but {file} has 0 to {count - 1}.")
    return np.array([f"demo_{index}" for index in indices], dtype="S")
