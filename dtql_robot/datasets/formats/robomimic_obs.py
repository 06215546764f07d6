"""The observations of one demo of a robomimic file: obs/<key> and next_obs/<key>."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import h5py
import numpy as np

from dtql_robot.datasets.formats import hdf5
from dtql_robot.datasets.formats.episode_checks import Place, as_obs, check_rows
from dtql_robot.datasets.formats.reading import ObsArray, copies_of_actions
from dtql_robot.errors import InputError
from dtql_robot.types import Array, is_image

FLAT, OBSERVATION = "flat", "observation"
"""What robomimic calls the only array of a Gym environment, and what it is called everywhere else."""
_SAME = 1e-3  # share of an entry's range, and of its size, up to which two values of it are one


def first_obs(data: h5py.Group, names: Sequence[str], file: str) -> dict[str, ObsArray]:
    """How the observations are stored, by the first demo that has some.  InputError where none has."""
    return available_obs(first_with_obs(data, names), file)


def first_with_obs(data: h5py.Group, names: Sequence[str]) -> h5py.Group:
    """The first demo that has observations; the very first where none has."""
    demos = (hdf5.subgroup(data, name) for name in names)
    first = next(demos)
    return next((demo for demo in (first, *demos) if "obs" in hdf5.children(demo)), first)


def available_obs(demo: h5py.Group, file: str) -> dict[str, ObsArray]:
    """How the demo's observations are stored, by key.  InputError where it has none."""
    keys = hdf5.children(demo)
    if "obs" not in keys:
        name = str(demo.name).rsplit("/", 1)[-1]
        if "states" in keys and isinstance(hdf5.member(demo, "states"), h5py.Group):
            raise InputError(
                f"{file} holds an Isaac Lab recording without observations ({name} has {', '.join(keys)}); its states "
                "can be read by Isaac Lab only. Record it again with observations (the group 'obs')."
            )
        if "states" in keys:
            raise InputError(
                f"{file} contains simulator states but no observations ({name} has {', '.join(keys)}). It is "
                "a raw robosuite recording and must be converted to observations first: "
                f"`dtql-robot convert {file} OUT.hdf5`."
            )
        raise InputError(f"{name}: no 'obs' in {file}; it has {', '.join(keys) or 'nothing'}.")
    obs = hdf5.subgroup(demo, "obs")
    return {key: ObsArray(*hdf5.describe(obs, key)) for key in hdf5.array_keys(obs)}


def action_copies(demo: h5py.Group, available: Mapping[str, ObsArray]) -> frozenset[str]:
    """The observations that repeat the demo\'s actions."""
    if "actions" not in hdf5.children(demo):
        return frozenset()
    shape, dtype = hdf5.describe(demo, "actions")
    if dtype.kind not in "biuf" or not any(v.shape == shape for v in available.values()):
        return frozenset()
    return copies_of_actions(available, hdf5.read_array(demo, "actions"), lambda k: hdf5.read_array(demo, f"obs/{k}"))


def read_obs(
    demo: h5py.Group, members: Sequence[str], keys: Sequence[str], steps: int, place: Place
) -> dict[str, Array]:
    """The observations `keys`: (T, ...) each, before every action.  The place\'s error where one is missing."""
    group = _group(demo, members, "obs", keys, place)
    found = {}
    for key in keys:
        found[key] = as_obs(hdf5.read_array(group, key), key, place)
        check_rows(f"obs/{key}", len(found[key]), steps, place)
    return found


def read_final_obs(
    demo: h5py.Group, members: Sequence[str], keys: Sequence[str], steps: int, place: Place
) -> dict[str, Array] | None:
    """Last row of next_obs; only that row is read, the others repeat obs."""
    if "next_obs" not in members:
        return None
    group = _group(demo, members, "next_obs", keys, place)
    found = {}
    for key in keys:
        rows, last = hdf5.read_last(group, key)
        check_rows(f"next_obs/{key}", rows, steps, place)
        found[key] = as_obs(last[None], key, place)[0]
    return found


def _group(demo: h5py.Group, members: Sequence[str], which: str, keys: Sequence[str], place: Place) -> h5py.Group:
    if which not in members:
        raise place.error(f"there is no {which!r}")
    group = hdf5.subgroup(demo, which)
    present = hdf5.children(group)
    for key in keys:
        if key not in present and key not in (available := hdf5.array_keys(group)):
            raise place.error(f"no observation {key!r} in {which!r} (available: {', '.join(available)})")
    return group


def differing_next_obs(demo: h5py.Group, obs: dict[str, Array], place: Place) -> str | None:
    """An observation whose next_obs in the middle of the demo is not the following row of obs; None as it should be."""
    for key, values in obs.items():
        middle = len(values) // 2 - 1
        if middle < 0 or is_image(values.shape[1:], values.dtype):
            continue
        row = as_obs(hdf5.read_row(demo, f"next_obs/{key}", middle)[None], key, place)[0]
        allowed = _SAME * (np.ptp(values, axis=0) + np.abs(values[middle + 1]))
        if row.shape != values.shape[1:] or (np.abs(row - values[middle + 1]) > allowed).any():
            return key
    return None
