"""What a robomimic file and a raw robosuite recording have in common: demos, filter keys, attributes, other arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats import hdf5, hdf5_attrs
from dtql_robot.datasets.formats.episode_checks import Place
from dtql_robot.datasets.formats.hdf5_stored import Stored
from dtql_robot.datasets.formats.reading import ObsArray
from dtql_robot.env_record import check_record
from dtql_robot.types import Array

ATTRS_JSON = "attrs_json"  # attributes that HDF5 cannot hold as they are
HAS_SUCCESS = "has_success"
HAS_FINAL_OBS = "has_final_obs"
HAS_MASKS = "has_masks"  # whether "masks" says which steps count; elsewhere it is an array like others
CLAIMED_STEPS = "num_samples_recorded"  # attribute num_samples, where it contradicts the arrays
NEXT_OBS_DIFFERS = "next_obs_differs"  # attribute: an observation whose next_obs[t] is not obs[t + 1]
FOUND = {CLAIMED_STEPS, NEXT_OBS_DIFFERS}  # attributes that say what reading found; never written
OWN_ATTRS = {"num_samples", "terminated", "truncated", HAS_SUCCESS, HAS_FINAL_OBS, HAS_MASKS, ATTRS_JSON, *FOUND}
OWN_FILE_ATTRS = {"env_args", "total", ATTRS_JSON}
MAIN_KEYS = {"actions", "obs", "next_obs", "rewards", "dones", "success"}


def natural_order(name: str) -> tuple[int, int, str, str]:
    """demo_10 after demo_9; names without a number last."""
    number = re.search(r"[0-9]+$", name)
    if number is None:
        return 1, 0, "", name
    digits = number.group().lstrip("0")
    return 0, len(digits), digits, name  # the order of the numbers, of any length


def demo_names(data: h5py.Group) -> list[str]:
    """Names of the groups in `data`, demo_10 after demo_9."""
    return sorted(hdf5.group_names(data), key=natural_order)


def read_filters(file: h5py.File) -> dict[str, list[str]]:
    """mask/<key> -> names of its demos."""
    if "mask" not in hdf5.children(file):
        return {}
    mask = hdf5.subgroup(file, "mask")
    return {key: hdf5.read_strings(mask, key) for key in hdf5.array_keys(mask)}


def _other_arrays(demo: h5py.Group, members: Sequence[str]) -> Iterator[tuple[str, Stored]]:
    """All arrays of a demo with these `members` that are none of the main ones, with their paths."""
    for top in members:
        if top not in MAIN_KEYS:
            node = hdf5.member(demo, top)
            if isinstance(node, h5py.Dataset):
                yield top, Stored(node.id, demo, top)
            else:
                yield from hdf5.arrays(node, f"{top}/")


def _is_extra(shape: tuple[int, ...], dtype: np.dtype[Any], steps: int) -> bool:
    return shape[:1] == (steps,) and dtype.kind in "biuf" and not ObsArray(shape, dtype).is_image


def step_extras(demo: h5py.Group, members: Sequence[str], steps: int) -> dict[str, Array]:
    """Other numeric arrays with one row a step, dtype as stored; images and arrays of other lengths are left."""
    others = _other_arrays(demo, members)
    return {key: array.read() for key, array in others if _is_extra(array.shape, array.dtype, steps)}


def unread_arrays(demo: h5py.Group, steps: int) -> dict[str, str]:
    """Arrays of a demo that `step_extras` leaves: name -> description."""
    found = {}
    for key, array in _other_arrays(demo, hdf5.children(demo)):
        if not _is_extra(array.shape, array.dtype, steps):
            found[key] = f"{'text' if array.dtype.kind in 'SUO' else array.dtype} {array.shape}"
    return found


def demo_attrs(attrs: dict[str, Any], place: Place) -> dict[str, Any]:
    """A demo's attributes but for those that say what `Episode` has fields for."""
    return _unfold(attrs, OWN_ATTRS, f"{place.episode}: attribute {ATTRS_JSON!r} in {place.file}")


def file_attrs(data: h5py.Group, file: str) -> dict[str, Any]:
    """What the file says about itself, besides the environment."""
    return _unfold(hdf5_attrs.attributes(data), OWN_FILE_ATTRS, f"attribute {ATTRS_JSON!r} of 'data' in {file}")


def _unfold(attrs: dict[str, Any], own: set[str], place: str) -> dict[str, Any]:
    """Attributes other than this package's own, and those that the writer had to put into one of JSON."""
    kept = {k: v for k, v in attrs.items() if k not in own}
    return kept | (hdf5_attrs.parse_json_object(attrs[ATTRS_JSON], place) if ATTRS_JSON in attrs else {})


def environment(data: h5py.Group, file: str) -> dict[str, Any]:
    """robomimic's record of the environment; {} where the file has none."""
    text, place = hdf5_attrs.attributes(data).get("env_args"), f"attribute 'env_args' of 'data' in {file}"
    return {} if text is None else check_record(hdf5_attrs.parse_json_object(text, place), place)
