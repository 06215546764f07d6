"""Success where a file has no array of it: as an attribute, as Isaac Lab's recorder writes it, or as the reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.hdf5_attrs import as_flag
from dtql_robot.types import Array

_AT_FIRST = 0.5  # share of the episodes that have 1 at their first step, above which 1 is no success
_MOST = 0.8  # share of all steps, likewise
LABELS = ("success", "is_success", "successful", "succeeded", "task_success", "successes")


def success_of_attrs(attrs: Mapping[str, Any], steps: int) -> Array | None:
    """(T,) success after each step: a list of T flags as it is, one flag at the last step; None where there is none."""
    for key in LABELS:
        value = attrs.get(key)
        if isinstance(value, list) and len(value) == steps and steps > 1:
            flags = [as_flag(v) for v in value]
            if None not in flags:
                return np.array(flags, bool)
        flag = as_flag(value)
        if flag is not None:
            success = np.zeros(steps, bool)
            success[-1] = flag
            return success
    return None


def labels_of_file(attrs: Mapping[str, Any], names: Sequence[str]) -> dict[str, bool]:
    """Name of an episode -> its label, from an attribute of all: one flag, a list in the order of names, or by name."""
    for key in LABELS:
        value = attrs.get(key)
        values = [value] * len(names)
        if isinstance(value, list) and len(value) == len(names):
            values = value
        elif isinstance(value, Mapping):
            values = [value.get(name) for name in names]
        found = {name: flag for name, v in zip(names, values, strict=True) if (flag := as_flag(v)) is not None}
        if found:
            return found
    return {}


def why_no_success(rewards: Sequence[Array]) -> str | None:
    """Why a reward of 1 is no success in a file whose rewards are all 0 or 1, in words; None where it may be.

    rewards: (T,) of each episode.  A task is not done before the first step, and not for nearly
    all of the time: such a reward is one for staying alive, or for going on.
    """
    several = [np.ravel(r) for r in rewards if r.size > 1]
    at_first = sum(float(r[0]) == 1 for r in several)
    share = sum(np.count_nonzero(r) for r in several) / max(sum(map(len, several)), 1)
    if several and at_first > _AT_FIRST * len(several):
        return f"it is 1 from the first step in {at_first} of {len(several)} episodes"
    if share > _MOST:
        return f"it is 1 at {share:.0%} of all steps"
    return None
