"""Success that a file keeps as an attribute, as Isaac Lab's recorder does: of each episode, or of all in one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.hdf5_attrs import as_flag
from dtql_robot.types import Array

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
