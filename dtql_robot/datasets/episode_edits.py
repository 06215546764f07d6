"""Changes that a user asks for; each returns new demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode

COLLECTION = "collection"  # attribute that tells how `collect` made a file
_ENOUGH = 0.5  # share of episodes that end at one and the same highest reward, from which it is suggested


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


def rename_keys(demos: Demonstrations, names: Mapping[str, str]) -> Demonstrations:
    """Observations under other names, in the order they had.  names: old -> new.

    InputError for one that is not there, and for a name that two would have.
    """
    known = list(demos.obs_shapes)
    for old in names:
        if old not in known:
            raise InputError(f"{demos.source} has no observation {old!r}, only {', '.join(known)}.")
    new = [names.get(key, key) for key in known]
    twice = next((key for key in new if new.count(key) > 1), None)
    if twice is not None:
        raise InputError(f"Two observations would be called {twice!r}; choose another name.")

    def renamed(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {names.get(key, key): array for key, array in arrays.items()}

    episodes = tuple(
        replace(e, obs=renamed(e.obs), final_obs=None if e.final_obs is None else renamed(e.final_obs))
        for e in demos.episodes
    )
    return replace(demos, episodes=episodes)


def without_plan(demos: Demonstrations) -> Demonstrations:
    """Without the note that `collect` continues by: what was edited is no collection of that plan any more."""
    return replace(demos, attrs={k: v for k, v in demos.attrs.items() if k != COLLECTION})


def mask_indices(reading: Reading) -> dict[str, list[int]]:
    """Filter key -> indices of its episodes among those that were read; keys that select none are left out."""
    index = {episode.name: i for i, episode in enumerate(reading.demos.episodes)}
    masks = {key: [index[n] for n in members if n in index] for key, members in reading.filter_keys.items()}
    return {key: members for key, members in masks.items() if members}


def success_from_reward(demos: Demonstrations, threshold: float) -> Demonstrations:
    """The same episodes with success[t] = rewards[t] >= threshold.

    As everywhere in robomimic's layout, an episode that ends in success is terminated: nothing more is earned after
    it.  The flags of other formats are recorded ones and stay.
    InputError where no step reaches the threshold: it would make every demonstration a failure.
    """
    highest = max(float(e.rewards.max()) for e in demos.episodes)
    if highest < threshold:
        raise InputError(
            f"No step of {demos.source} has a reward of {threshold:g} or more (success_reward); the "
            f"highest is {highest:.6g}."
        )
    flags_derived = demos.format == "robomimic"
    return replace(demos, episodes=tuple(_labelled(e, threshold, flags_derived) for e in demos.episodes))


def _labelled(episode: Episode, threshold: float, flags_derived: bool) -> Episode:
    success = np.asarray(episode.rewards >= np.float32(threshold))
    labelled = replace(episode, success=success)
    if flags_derived and success[-1]:
        return replace(labelled, terminated=True, truncated=False)
    return labelled


def suggested_reward(demos: Demonstrations) -> tuple[float, int] | None:
    """(highest reward of all, episodes that end at it) where half of the episodes or more do, and it is rare before.

    That is how a shaped reward with a bonus for success looks; it is a hint for people, never applied on its own.
    """
    highest = max(float(e.rewards.max()) for e in demos.episodes)
    lowest = min(float(e.rewards.min()) for e in demos.episodes)
    at_end = sum(float(e.rewards[-1]) == highest for e in demos.episodes)
    steps_at = sum(int((e.rewards == np.float32(highest)).sum()) for e in demos.episodes)
    if highest <= lowest or at_end < _ENOUGH * len(demos) or steps_at > demos.num_transitions / 2:
        return None
    return highest, at_end
