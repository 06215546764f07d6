"""Write demonstrations as D4RL's flat HDF5, the layout of its locomotion files, which D4RL's own loader reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats.d4rl_read import KNOWN, OBS_KEY, OWN_MASKS, OWN_SUCCESS
from dtql_robot.datasets.formats.episode_checks import Place, check_flat
from dtql_robot.datasets.formats.hdf5_write import writing
from dtql_robot.datasets.formats.own_record import RECORD, record_of
from dtql_robot.datasets.formats.robomimic_layout import FOUND
from dtql_robot.errors import InputError
from dtql_robot.system.files import expanded, new_file
from dtql_robot.types import Array, Demonstrations, is_image

_PREFIX = "infos/"
_RESERVED = {name.removeprefix(_PREFIX) for name in (*KNOWN, OWN_SUCCESS, OWN_MASKS)}


def save_d4rl(demos: Demonstrations, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write `demos` to the file `path`; `load` returns them unchanged but for the observation's name.

    `terminals` is set at the last step of a terminated episode, `timeouts` at that of any other.  Extras
    "infos/<key>" are arrays of that name, success after each step is `infos/success`, masks are `infos/masks`.
    `next_observations` is there if any episode has a final observation; where one has none, its last row repeats the
    last observation.  What the layout has no place for (names, attributes, the environment) goes into
    `metadata/record`.
    Raises InputError for observations that are not one array, when `path` exists and `overwrite` is not set, or when
    an episode is malformed; nothing is left behind then.
    """
    path = expanded(Path(path))
    check_flat(demos, path.name)
    infos = _infos(demos, path.name)
    record = record_of(demos, set(FOUND)).to_text()
    with new_file(path, overwrite) as temporary, writing(temporary, "w", libver=("earliest", "v110")) as file:
        for name, array in (*_columns(demos).items(), *infos.items()):
            file.create_dataset(name, data=array, compression="gzip", compression_opts=1)
            del array  # one column at a time is in memory beside the episodes
        if demos.env_spec:
            file["metadata/env"] = demos.env_spec
        file.create_dataset(f"metadata/{RECORD}", data=record, dtype=h5py.string_dtype())
    return path


def cannot_hold(demos: Demonstrations) -> list[str]:
    """What of `demos` is lost in this layout, a phrase each."""
    return [f"the observation's name {key!r} (it is {OBS_KEY!r} here)" for key in demos.obs_shapes if key != OBS_KEY]


def _columns(demos: Demonstrations) -> dict[str, Array]:
    """The arrays that every D4RL file has."""
    (key,) = demos.obs_shapes
    episodes = demos.episodes
    obs = np.concatenate([e.obs[key] for e in episodes])
    ends = np.cumsum([len(e) for e in episodes]) - 1
    terminals = _at(ends, [e.terminated for e in episodes])
    found = {
        "observations": obs,
        "actions": np.concatenate([e.actions for e in episodes]),
        "rewards": np.concatenate([e.rewards for e in episodes]),
        "terminals": terminals,
        "timeouts": _at(ends, [not e.terminated for e in episodes]),
    }
    if any(e.final_obs is not None for e in episodes):
        following = np.concatenate([obs[1:], obs[-1:]])
        for e, end in zip(episodes, ends, strict=True):
            following[end] = obs[end] if e.final_obs is None else e.final_obs[key]
        found["next_observations"] = following
    return found


def _at(ends: Array, values: list[bool]) -> Array:
    """(N,) bool: `values` at the rows `ends`, which are the last ones of episodes, and else False."""
    marks = np.zeros(ends[-1] + 1, bool)
    marks[ends] = values
    return marks


def _infos(demos: Demonstrations, file: str) -> dict[str, Array]:
    """Success, masks and extras by their place in the file.  InputError where an extra is not the same in all."""
    found: dict[str, Array] = {}
    labelled = [e.success for e in demos.episodes if e.success is not None]
    if labelled:
        if len(labelled) < len(demos):
            raise InputError(
                f"{file} cannot hold success for only some of the episodes; {len(labelled)} of {len(demos)} have it. "
                "Write another format, or leave out the others."
            )
        found[OWN_SUCCESS] = np.concatenate(labelled)
    if any(e.masks is not None for e in demos.episodes):
        found[OWN_MASKS] = np.concatenate(
            [np.ones(len(e), bool) if e.masks is None else e.masks for e in demos.episodes]
        )
    first = demos.episodes[0]
    place = Place(first.name, file)
    names = {extra for e in demos.episodes for extra in e.extras}
    for extra in sorted(names):
        name = extra.removeprefix(_PREFIX)
        if name in _RESERVED or "/" in name or _PREFIX + name in found:
            raise place.error(f"extra array {extra!r} cannot be written: the name {name!r} is taken", "Rename it.")
        parts: list[Any] = [e.extras.get(extra) for e in demos.episodes]
        if len({None if part is None else part.shape[1:] for part in parts}) > 1:
            raise place.error(f"not every episode has {extra!r} in one shape, as one array for all needs")
        if is_image(parts[0].shape[1:], parts[0].dtype):
            raise place.error(f"extra array {extra!r} is of images, which have no place here", "Write another format.")
        found[_PREFIX + name] = np.concatenate(parts)
    return found
