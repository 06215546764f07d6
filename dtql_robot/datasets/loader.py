"""One way in for every format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import h5py

from dtql_robot.datasets import d4rl, minari_h5, robomimic
from dtql_robot.datasets.detect import detect
from dtql_robot.datasets.hdf5 import open_file
from dtql_robot.datasets.layout import Reading
from dtql_robot.datasets.source import resolve
from dtql_robot.types import Demonstrations

_ADAPTERS: dict[str, Callable[[h5py.File, Sequence[str] | None, str | None], Reading]] = {
    "robomimic": robomimic.read,
    "minari": minari_h5.read,
    "d4rl": d4rl.read,
}


def load(data: str | Path, *, obs_keys: Sequence[str] | None = None, filter_key: str | None = None) -> Demonstrations:
    """Read demonstrations into memory.

    data        robomimic HDF5, Minari folder or main_data.hdf5, D4RL HDF5, or minari:NAMESPACE/ID
    obs_keys    observations to load, in this order; None: every low-dimensional one, no images
    filter_key  subset of a robomimic file ("train", "valid", ...); None: all episodes

    Actions, rewards and low-dimensional observations are float32, images uint8.
    Raises InputError, with cause, place and remedy, for anything that is not such a dataset.
    """
    return read_source(data, obs_keys=obs_keys, filter_key=filter_key).demos


def read_source(data: str | Path, *, obs_keys: Sequence[str] | None = None, filter_key: str | None = None) -> Reading:
    """As `load`, with the notes that `inspect` shows."""
    with open_file(resolve(data)) as file:
        reading = _ADAPTERS[detect(file)](file, obs_keys, filter_key)
    return replace(reading, demos=replace(reading.demos, source=str(data)))
