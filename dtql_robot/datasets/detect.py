"""Which layout an HDF5 file has, from its content alone."""

from __future__ import annotations

import re

import h5py

from dtql_robot.datasets.formats.hdf5 import children, file_name
from dtql_robot.errors import InputError

EPISODE = re.compile(r"episode_(\d+)")


def detect(file: h5py.File) -> str:
    """ "robomimic" (data/demo_N), "minari" (episode_N) or "d4rl" (observations, actions).  Else InputError."""
    keys = children(file)
    if "data" in keys:
        return "robomimic"
    if any(EPISODE.fullmatch(k) for k in keys):
        return "minari"
    if "observations" in keys and "actions" in keys:
        return "d4rl"
    found = f"its top level holds {', '.join(map(repr, keys[:8]))}{', ...' if len(keys) > 8 else ''}"
    raise InputError(f"{file_name(file)} has no known layout: {found if keys else 'it holds nothing'}. Understood are "
                     "robomimic (data/demo_N), Minari (episode_N) and D4RL (observations, actions, terminals)."
                     )  # fmt: skip
