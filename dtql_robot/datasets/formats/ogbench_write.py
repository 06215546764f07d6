"""Write demonstrations as OGBench's .npz, which its own `load_dataset` reads."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from dtql_robot.datasets.formats.episode_checks import Place, check_flat
from dtql_robot.datasets.formats.ogbench_read import FINAL_INFOS, KNOWN, OBS_KEY
from dtql_robot.datasets.formats.own_record import RECORD, record_of
from dtql_robot.datasets.formats.robomimic_layout import FOUND
from dtql_robot.errors import InputError
from dtql_robot.system.files import expanded, new_file
from dtql_robot.types import Array, Demonstrations, Episode

_NOT_KEPT = {*FOUND, FINAL_INFOS, "rewards_missing"}  # attributes that the arrays say


def save_ogbench(demos: Demonstrations, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write `demos` to the file `path`; `load` returns them unchanged but for the observation's name.

    An episode of T steps becomes T + 1 rows, the last with the final observation and no action.  Extras "infos/<key>"
    become arrays `<key>`.  What the layout has no place for (names, attributes, the environment) goes into `record`.
    Raises InputError for observations that are not one array, when `path` exists and `overwrite` is not set, or when
    an episode is malformed; nothing is left behind then.
    """
    path = expanded(Path(path))
    check_flat(demos, path.name)
    if path.suffix != ".npz":
        raise InputError(f"{path} must end in .npz, as OGBench's files do.")
    columns = _columns(demos, path.name)
    with new_file(path, overwrite) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
        for name, rows_of in columns.items():
            _put(archive, name, map(rows_of, demos.episodes), demos.num_transitions + len(demos))
        stored = np.frombuffer(record_of(demos, _NOT_KEPT).to_text().encode(), np.uint8)
        _put(archive, RECORD, iter([stored]), len(stored))
    return path


def cannot_hold(demos: Demonstrations) -> list[str]:
    """What of `demos` is lost in this layout, a phrase each."""
    return [f"the observation's name {key!r} (it is {OBS_KEY!r} here)" for key in demos.obs_shapes if key != OBS_KEY]


def _columns(demos: Demonstrations, file: str) -> dict[str, Callable[[Episode], Array]]:
    """Array of the file -> what gives an episode's T + 1 rows of it."""
    (key,) = demos.obs_shapes
    columns: dict[str, Callable[[Episode], Array]] = {
        "observations": lambda e: _with(e.obs[key], e.obs[key][-1] if e.final_obs is None else e.final_obs[key]),
        "actions": lambda e: _with(e.actions, np.zeros(e.actions.shape[1])),
        "terminals": lambda e: np.arange(len(e) + 1) == len(e),
    }
    if not all(e.attrs.get("rewards_missing") for e in demos.episodes):
        columns["rewards"] = lambda e: _with(e.rewards, 0)
    if any(e.masks is not None or e.terminated for e in demos.episodes):
        columns["masks"] = lambda e: _with(_masks(e), not e.terminated)
    if labelled := [e for e in demos.episodes if e.success is not None]:
        if len(labelled) < len(demos):
            raise InputError(
                f"{file} cannot hold success for only some of the episodes; {len(labelled)} of {len(demos)} have it. "
                "Write another format, or leave out the others."
            )
        columns["success"] = lambda e: _with(_flags(e.success), False)
    for extra in demos.episodes[0].extras:
        columns[_info_name(extra, columns, demos, file)] = lambda e, extra=extra: _with(
            e.extras[extra], _final(e, extra)
        )  # type: ignore[misc]
    return columns


def _info_name(extra: str, taken: dict[str, Any], demos: Demonstrations, file: str) -> str:
    """The array's name in the file.  InputError where it is taken, or not every episode has the extra."""
    name = extra.removeprefix("infos/")
    place = Place(demos.episodes[0].name, file)
    if name in taken or name in KNOWN | {RECORD} or "/" in name:
        raise place.error(f"extra array {extra!r} cannot be written: the name {name!r} is taken", "Rename it.")
    shape = demos.episodes[0].extras[extra].shape[1:]
    if any(extra not in e.extras or e.extras[extra].shape[1:] != shape for e in demos.episodes):
        raise place.error(f"not every episode has {extra!r} in one shape, as one array for all needs")
    return name


def _with(rows: Array, last: Any) -> Array:
    return np.concatenate([rows, np.asarray(last, rows.dtype)[None]])


def _flags(values: Any) -> Array:
    return np.asarray(values, bool).reshape(-1)


def _masks(episode: Episode) -> Array:
    return np.ones(len(episode), bool) if episode.masks is None else _flags(episode.masks)


def _final(episode: Episode, extra: str) -> Any:
    """The extra in the state after the last step; where that is not known the last known one."""
    known = episode.attrs.get(FINAL_INFOS)
    return known.get(extra.removeprefix("infos/"), episode.extras[extra][-1]) if known else episode.extras[extra][-1]


def _put(archive: zipfile.ZipFile, name: str, parts: Iterator[Array], rows: int) -> None:
    """An array as np.savez writes it, from parts that are never all in memory."""
    first = np.ascontiguousarray(next(parts))
    header = {"descr": npy.dtype_to_descr(first.dtype), "fortran_order": False, "shape": (rows, *first.shape[1:])}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
        npy.write_array_header_1_0(stream, header)
        stream.write(first.tobytes())
        for part in parts:
            stream.write(np.ascontiguousarray(part, first.dtype).tobytes())
