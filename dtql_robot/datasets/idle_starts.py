"""Demonstrations begin where something moves: the idle steps before are cut off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode, is_image

SEED = "seed"
"""Attribute of an episode: the seed of its reset, which leads to the start that was cut off."""


def cut_idle_starts(demos: Demonstrations, share: float) -> tuple[Demonstrations, dict[str, int]]:
    """(episodes without their idle starts, name -> steps that were cut off).

    A step is idle while every low-dimensional observation stays, in each entry, within `share` of the entry's range
    over all episodes of its value at the start.  The step that leads to the first movement stays.  An episode in which
    nothing moves is left as it is.  InputError where there are only images, or for a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise InputError(
            f"The share of an observation's range that counts as idle is {share:g}; expected a number "
            "between 0 and 1, such as 0.01."
        )
    keys = [k for k, shape in demos.obs_shapes.items() if not is_image(shape, demos.episodes[0].obs[k].dtype)]
    if not keys:
        raise InputError(
            f"{demos.source} has only images, where idle starts cannot be detected; convert it with its "
            "low-dimensional observations."
        )
    bounds = {k: share * _range(demos, k) for k in keys}
    episodes, cut = [], {}
    for episode in demos.episodes:
        steps = _idle(episode, bounds)
        episodes.append(_from(episode, steps) if steps else episode)
        if steps:
            cut[episode.name] = steps
    return replace(demos, episodes=tuple(episodes)), cut


def _range(demos: Demonstrations, key: str) -> Array:
    lows = np.stack([e.obs[key].min(axis=0) for e in demos.episodes]).min(axis=0)
    return np.asarray(np.stack([e.obs[key].max(axis=0) for e in demos.episodes]).max(axis=0) - lows)


def _idle(episode: Episode, bounds: dict[str, Array]) -> int:
    """Steps before the one that leads to the first movement; 0 where nothing moves."""
    moved = np.zeros(len(episode), bool)
    for key, bound in bounds.items():
        values = episode.obs[key]
        away = np.abs(values - values[0]) > bound
        moved |= away.reshape(len(values), -1).any(axis=1)
    return max(0, int(moved.argmax()) - 1) if moved.any() else 0


def _from(episode: Episode, first: int) -> Episode:
    """The steps from `first` on."""
    attrs = {k: v for k, v in episode.attrs.items() if k != SEED}
    return replace(episode.part(first, len(episode)), attrs=attrs)
