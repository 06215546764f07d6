"""What a set of demonstrations holds, as plain data."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.datasets.duplicates import duplicate_episodes
from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.loader import read_source
from dtql_robot.types import Array, Demonstrations, Episode, is_constant, is_image

_SHORT = 2


def inspect(
    data: Demonstrations | str | Path,
    *,
    obs_keys: Sequence[str] | None = None,
    filter_key: str | None = None,
    episode_length: int | None = None,
) -> dict[str, Any]:
    """JSON-able summary of demonstrations or of the source behind `data` (as for `load`, with its errors).

    Keys: source, format, env, episodes, transitions, length {min, median, max}, return {min, mean, max} or None,
    success {known, at_end, ever} in episodes or None, obs {key: {shape, dtype, min, max}},
    constant_obs {key: entries that never change}, left_out {key: text}, unread {array that is not kept: text},
    attrs (what the source says about itself),
    action [{min, max, mean, std, histogram, constant, binary}] per dimension (histogram: 16 counts from min to max),
    extras {key: {shape, dtype}}, final_obs,
    terminated and truncated (episodes), filter_keys {name: episodes}, duplicates [[names of equal episodes]], versions
    {recorded: what the source says, installed: {package: version}}, notes and warnings (sentences).
    """
    if isinstance(data, Demonstrations):
        reading = Reading(data)
    else:
        reading = read_source(data, obs_keys=obs_keys, filter_key=filter_key, episode_length=episode_length)
    demos = reading.demos
    episodes = demos.episodes
    lengths = np.array([len(e) for e in episodes])
    actions = np.concatenate([e.actions for e in episodes])
    summary = {
        "source": demos.source,
        "format": demos.format,
        "env": demos.env_spec,
        "episodes": len(episodes),
        "transitions": demos.num_transitions,
        "length": {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())},
        "return": _returns(episodes),
        "success": _success(demos),
        "obs": {key: _obs([e.obs[key] for e in episodes]) for key in demos.obs_shapes},
        "constant_obs": _constant_obs(demos),
        "left_out": dict(reading.left_out),
        "unread": dict(reading.unread),
        "attrs": dict(demos.attrs),
        "action": [_action(column) for column in actions.T],
        "extras": {k: {"shape": list(v.shape[1:]), "dtype": str(v.dtype)} for k, v in episodes[0].extras.items()},
        **_ends(episodes),
        "filter_keys": {k: len(v) for k, v in reading.filter_keys.items()},
        "duplicates": duplicate_episodes(demos),
        "versions": recorded_versions(demos),
        "notes": list(reading.notes),
    }
    return summary | {"warnings": _warnings(demos, summary, lengths)}


def _ends(episodes: Sequence[Episode]) -> dict[str, int]:
    """How many episodes end in which way."""
    return {
        "final_obs": sum(e.final_obs is not None for e in episodes),
        "terminated": sum(e.terminated for e in episodes),
        "truncated": sum(e.truncated for e in episodes),
    }


def _returns(episodes: Sequence[Episode]) -> dict[str, float] | None:
    if all(e.attrs.get("rewards_missing") for e in episodes):
        return None
    returns = np.array([e.rewards.sum(dtype=np.float64) for e in episodes])
    return {"min": float(returns.min()), "mean": float(returns.mean()), "max": float(returns.max())}


def recorded_versions(demos: Demonstrations) -> dict[str, Any]:
    """The versions that the source's record of its environment names, and those of the simulators installed here."""
    names = ("env_version", "repository_version", "minari_version", "mujoco_version")
    said = {**demos.attrs, **demos.env_args}
    recorded = {k: str(said[k]) for k in names if said.get(k)}
    installed = {}
    for package in ("mujoco", "gymnasium-robotics", "robosuite", "metaworld"):
        with contextlib.suppress(PackageNotFoundError):
            installed[package] = version(package)
    return {"recorded": recorded, "installed": installed}


def _success(demos: Demonstrations) -> dict[str, int] | None:
    known = [e for e in demos.episodes if e.success is not None]
    if not known:
        return None
    ever = sum(bool(np.any(e.success)) for e in known)
    return {"known": len(known), "at_end": sum(e.ends_in_success for e in known), "ever": ever}


def _obs(arrays: Sequence[Array]) -> dict[str, Any]:
    low, high = min(a.min() for a in arrays), max(a.max() for a in arrays)
    first = arrays[0]
    return {"shape": list(first.shape[1:]), "dtype": str(first.dtype), "min": float(low), "max": float(high)}


def _constant_obs(demos: Demonstrations) -> dict[str, list[int]]:
    """Low-dimensional observation -> its entries that never change, for those that have some."""
    found = {}
    for key, shape in demos.obs_shapes.items():
        arrays = [e.obs[key] for e in demos.episodes]
        if not is_image(shape, arrays[0].dtype):
            low = np.min([a.min(axis=0).ravel() for a in arrays], axis=0).astype(np.float64)
            high = np.max([a.max(axis=0).ravel() for a in arrays], axis=0).astype(np.float64)
            found[key] = np.flatnonzero(is_constant((high - low) / 2, np.maximum(-low, high))).tolist()
    return {key: entries for key, entries in found.items() if entries}


def histogram(values: Array, bins: int = 16) -> list[int]:
    """Counts in `bins` equal parts of the range of `values` (N,); all in the first where there is one value only."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return [len(values), *[0] * (bins - 1)]
    return [int(n) for n in np.histogram(values.astype(np.float64), bins, (low, high))[0]]


def _action(column: Array) -> dict[str, Any]:
    """Statistics of one dimension (N,); constant: one value up to rounding, binary: exactly two."""
    values = np.unique(column)
    return {
        "min": float(values[0]),
        "max": float(values[-1]),
        "mean": float(column.mean(dtype=np.float64)),
        "std": float(column.std(dtype=np.float64)),
        "histogram": histogram(column),
        "constant": bool(is_constant((float(values[-1]) - float(values[0])) / 2, np.abs(values).max())),
        "binary": len(values) == 2,
    }


def _warnings(demos: Demonstrations, summary: dict[str, Any], lengths: Array) -> list[str]:
    count = len(demos)
    found = []
    missing = sum(bool(e.attrs.get("rewards_missing")) for e in demos.episodes)
    if missing:
        found.append(f"{missing} of {count} episodes have no rewards; zeros are used instead.")
    elif not any(e.rewards.any() for e in demos.episodes):
        found.append("all rewards are zero.")
    if summary["success"] is None:
        found.append("there is no success signal.")
    elif not summary["success"]["ever"]:
        found.append("no episode reaches success.")
    if summary["final_obs"] < count:
        found.append(f"{count - summary['final_obs']} of {count} episodes lack the observation after the last action.")
    constant = [i for i, a in enumerate(summary["action"]) if a["constant"]]
    if constant:
        found.append(f"action dims {constant} never change.")
    outside = [i for i, a in enumerate(summary["action"]) if a["min"] < -1 or a["max"] > 1]
    if outside:
        found.append(f"action dims {outside} leave [-1, 1].")
    copies = sum(len(group) - 1 for group in summary["duplicates"])
    if copies:
        found.append(
            f"{copies} of {count} episodes repeat another one, e.g. {' = '.join(summary['duplicates'][0][:3])}."
        )
    if lengths.min() < _SHORT:
        found.append(f"{int((lengths < _SHORT).sum())} of {count} episodes are shorter than {_SHORT} steps.")
    return found
