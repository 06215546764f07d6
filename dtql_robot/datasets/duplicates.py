"""Episodes that are copies of each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from dtql_robot.types import Array, Demonstrations, Episode


def digest(arrays: Iterable[Array]) -> bytes:
    """Of the shapes and values of several arrays."""
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array.dtype.kind == "f":
            array = array + array.dtype.type(0)  # -0.0 becomes 0.0, which is the same value
        total.update(str(array.shape).encode())
        total.update(np.ascontiguousarray(array).data)
    return total.digest()


def fingerprint(episode: Episode) -> bytes:
    """Digest of the actions and observations, by value."""
    return digest([episode.actions, *(episode.obs[key] for key in sorted(episode.obs))])


def duplicate_episodes(demos: Demonstrations) -> list[list[str]]:
    """Groups of names of equal episodes, in the file's order; [] where there are none."""
    groups: dict[bytes, list[str]] = {}
    for episode in demos.episodes:
        groups.setdefault(fingerprint(episode), []).append(episode.name)
    return [names for names in groups.values() if len(names) > 1]
