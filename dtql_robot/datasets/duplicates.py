"""Episodes that are copies of each other."""

from __future__ import annotations

import hashlib

import numpy as np

from dtql_robot.types import Demonstrations, Episode


def fingerprint(episode: Episode) -> bytes:
    """Digest of the actions and observations, by value."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(str(episode.actions.shape).encode())
    digest.update(np.ascontiguousarray(episode.actions).data)
    for key in sorted(episode.obs):
        digest.update(np.ascontiguousarray(episode.obs[key]).data)
    return digest.digest()


def duplicate_episodes(demos: Demonstrations) -> list[list[str]]:
    """Groups of names of equal episodes, in the file's order; [] where there are none."""
    groups: dict[bytes, list[str]] = {}
    for episode in demos.episodes:
        groups.setdefault(fingerprint(episode), []).append(episode.name)
    return [names for names in groups.values() if len(names) > 1]
