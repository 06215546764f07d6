"""Resets that nobody marked: where observations jump as they do between two episodes and not within one."""

from __future__ import annotations

import numpy as np

from dtql_robot.types import Array, Demonstrations, is_image

_SHARE = 0.75  # of the entries that a reset moves farther than usual, at least a quarter; a contact or a gripper few
_ORDINARY = 0.9  # quantile of an entry's own changes that counts as an ordinary step of it
_FARTHER = 5.0  # ordinary steps, the least that a reset is
_APART = 1.7  # times as far as the largest of all other steps is the smallest reset; real data: 1.9 and more
_LOOKED_AT = 30_000  # rows in which `jumps_inside` looks, in the first episodes
_LIKE_A_RESET = 0.5  # of the usual distance from the end of an episode to the start of the next
_MOST = 0.1  # share of steps that may be resets: episodes shorter than ten steps are not told apart


def jump_sizes(obs: Array, following: Array | None = None) -> Array:
    """(N - 1,) how far row t + 1 lies from what was to be expected after row t, in ordinary steps.

    obs: (N, D).  following: (N, D) what was seen after each row, where that is recorded; else row t itself.
    Of the entries' changes, each in units of its own ordinary step, the upper quartile: few entries make no reset.
    """
    rows = np.asarray(obs, np.float64)
    changes = np.abs(rows[1:] - (rows if following is None else np.asarray(following, np.float64))[:-1])
    moving = changes.max(axis=0, initial=0) > 0
    if not moving.any():
        return np.zeros(len(changes))
    changes = changes[:, moving]
    ordinary = np.quantile(changes, _ORDINARY, axis=0)
    spread = rows[:, moving].std(axis=0)
    return np.asarray(np.quantile(changes / np.maximum(ordinary, 1e-3 * spread), _SHARE, axis=1))


def visible_resets(sizes: Array) -> Array:
    """(N - 1,) bool: jumps that stand out from all other steps; none where there is no clear gap."""
    most = max(1, int(_MOST * len(sizes)))
    largest = np.sort(sizes)[::-1][: most + 1]
    if len(largest) < 2:
        return np.zeros(len(sizes), bool)
    gaps = largest[:-1] / np.maximum(largest[1:], 1e-12)
    gaps[largest[:-1] < _FARTHER] = 0
    best = int(np.argmax(gaps))
    return sizes >= largest[best] if gaps[best] >= _APART else np.zeros(len(sizes), bool)


def jumps_inside(demos: Demonstrations) -> list[tuple[str, int]]:
    """(episode, step) for every place inside one of the first episodes where the observations jump as at a reset.

    It stands out from all other steps inside episodes, and is no smaller than half of a usual reset between them.
    """
    keys = [k for k, s in demos.obs_shapes.items() if not is_image(s, demos.episodes[0].obs[k].dtype)]
    if not keys:
        return []
    starts = np.cumsum([0, *(len(e) for e in demos.episodes)])
    starts = starts[: max(2, int(np.searchsorted(starts, _LOOKED_AT, side="right")))]
    episodes = demos.episodes[: len(starts) - 1]
    rows = np.concatenate([np.hstack([e.obs[k].reshape(len(e), -1) for k in keys]) for e in episodes])
    sizes = jump_sizes(rows)
    between = np.isin(np.arange(len(sizes)), starts[1:-1] - 1)
    resets = np.zeros(len(sizes), bool)
    resets[~between] = visible_resets(sizes[~between])
    if between.any():
        resets &= sizes >= _LIKE_A_RESET * np.median(sizes[between])
    found = np.flatnonzero(resets)
    episode = np.searchsorted(starts, found, side="right") - 1
    return [(demos.episodes[e].name, int(t - starts[e])) for e, t in zip(episode, found, strict=True)]
