"""Changes that a user asks for when converting; each returns new demonstrations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations


def clip_actions(demos: Demonstrations) -> Demonstrations:
    """Actions clipped to [-1, 1]."""
    return replace(demos, episodes=tuple(replace(e, actions=np.clip(e.actions, -1, 1)) for e in demos.episodes))


def mark_time_outs(demos: Demonstrations, limit: int) -> Demonstrations:
    """Episodes of `limit` or more steps that do not end in success become truncated instead of terminated."""
    if not any(len(e) >= limit for e in demos.episodes):
        longest = max(len(e) for e in demos.episodes)
        raise InputError(f"No episode of {demos.source} has {limit} steps (time_limit); the longest has {longest}.")
    episodes = tuple(
        replace(e, terminated=False, truncated=True) if len(e) >= limit and not e.ends_in_success else e
        for e in demos.episodes
    )
    return replace(demos, episodes=episodes)


def mask_indices(reading: Reading) -> dict[str, list[int]]:
    """Filter key -> indices of its episodes among those that were read; keys that select none are left out."""
    index = {episode.name: i for i, episode in enumerate(reading.demos.episodes)}
    masks = {key: [index[n] for n in members if n in index] for key, members in reading.filter_keys.items()}
    return {key: members for key, members in masks.items() if members}
