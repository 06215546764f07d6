"""Demonstrations from arrays in memory: one mapping per episode, with every check that the readers of files have."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.episode_checks import (
    Place,
    as_actions,
    as_column,
    as_masks,
    as_obs,
    check_alike,
    check_rows,
)
from dtql_robot.datasets.formats.precision import lost, watch
from dtql_robot.errors import InputError, did_you_mean
from dtql_robot.types import Array, Demonstrations, Episode

_OBS_KEY = "observation"
_SOURCE = "arrays"
_NEEDED = ("observations", "actions")
_KEYS = (
    *_NEEDED,
    *("rewards", "success", "next_observations", "masks", "terminated", "truncated", "extras", "attrs", "name"),
)
_DEEPEST = 8  # mappings inside each other
_SAME = (1e-5, 1e-6)  # relative and absolute difference up to which two observations are one


def from_arrays(
    episodes: Iterable[Mapping[str, Any]], *, env: str | None = None, source: str = _SOURCE
) -> Demonstrations:
    """See `Demonstrations.from_arrays`."""
    if isinstance(episodes, (Mapping, str, bytes)) or not isinstance(episodes, Iterable):
        raise InputError(
            f"from_arrays takes a sequence with one mapping per episode, found {type(episodes).__name__}. Put a single "
            "episode into a list."
        )
    if env is not None and not isinstance(env, str):
        raise InputError(f"The environment is {env!r}; expected its name, e.g. 'FetchPush-v4'.")
    with watch() as ranges:
        found = tuple(_episode(index, episode, source) for index, episode in enumerate(episodes))
    check_alike(found, source)
    for sentence in lost(ranges):
        warnings.warn(sentence, stacklevel=3)
    return Demonstrations(found, source, "arrays", env)


def _episode(index: int, given: Any, source: str) -> Episode:
    place = Place(f"episode_{index}", source)
    if not isinstance(given, Mapping):
        raise place.error(f"it is {type(given).__name__}; expected a mapping with 'observations' and 'actions'")
    unknown = next((k for k in given if k not in _KEYS), None)
    if unknown is not None:
        hint = did_you_mean(str(unknown), _KEYS, otherwise=f"Known keys: {', '.join(_KEYS)}.")
        raise place.error(f"there is no key {unknown!r}", f"{hint} Put other arrays of T rows under 'extras'.")
    given = {k: v for k, v in given.items() if v is not None}
    missing = next((k for k in _NEEDED if k not in given), None)
    if missing is not None:
        raise place.error(f"there are no {missing!r} (only {', '.join(given) or 'nothing'})")
    place = Place(str(given.get("name", place.episode)), source)
    actions = as_actions(_array(given["actions"], "actions", place), place)
    steps = len(actions)
    obs, final = _observations(given, steps, place)
    success = _success(given.get("success"), steps, place)
    masks = _masks(given.get("masks"), steps, place)
    terminated, truncated = _ending(given, success, masks, steps, place)
    if masks is not None and masks[:-1].all():  # its last step alone, which `terminated` says
        masks = None
    attrs = _attrs(given.get("attrs", {}), place)
    rewards = np.zeros(steps, np.float32)
    if "rewards" in given:
        rewards = as_column(_array(given["rewards"], "rewards", place), "rewards", steps, place)
    else:
        attrs["rewards_missing"] = True
    extras = _extras(given.get("extras", {}), steps, place)
    return Episode(place.episode, obs, final, actions, rewards, terminated, truncated, success, extras, attrs, masks)


def _array(value: Any, label: str, place: Place) -> Array:
    """The array that `value` is: numpy's, nested lists, a tensor on the CPU."""
    if np.ma.is_masked(value):
        raise place.error(f"{label!r} has masked entries,", "Repair them, or remove that episode.")
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise place.error(f"{label!r} is not an array of one shape ({reason}),") from error


def _by_key(value: Any, label: str, place: Place, prefix: str = "") -> dict[str, Array]:
    """key -> array; a mapping inside a mapping becomes keys "a/b"."""
    if not isinstance(value, Mapping):
        return {prefix or _OBS_KEY: _array(value, f"{label}/{prefix}" if prefix else label, place)}
    if prefix.count("/") >= _DEEPEST:
        raise place.error(f"{label!r} has mappings {_DEEPEST} deep or contains itself")
    found: dict[str, Array] = {}
    for key, part in value.items():
        if not isinstance(key, str) or not key:
            raise place.error(f"{label!r} has the key {key!r}; expected text")
        below = _by_key(part, label, place, f"{prefix}/{key}" if prefix else key)
        if twice := found.keys() & below.keys():
            raise place.error(f"{label!r} has {min(twice)!r} twice")
        found |= below
    if not found:
        raise place.error(f"{label!r} is empty; expected an array or a mapping of arrays")
    return found


def _observations(
    given: Mapping[str, Any], steps: int, place: Place
) -> tuple[dict[str, Array], dict[str, Array] | None]:
    """Observations before each step, and the last one where it is known."""
    arrays = {k: as_obs(v, k, place) for k, v in _by_key(given["observations"], "observations", place).items()}
    rows = {len(v) for v in arrays.values()}
    if len(rows) > 1 or not rows <= {steps, steps + 1}:
        found = ", ".join(f"{k!r} {len(v)}" for k, v in arrays.items())
        raise place.error(
            f"'actions' has {steps} rows and observations have {found},",
            f"All must have {steps}, or all {steps + 1}, the last of them after the last action.",
        )
    obs = {k: v[:steps] for k, v in arrays.items()}
    final = {k: v[steps] for k, v in arrays.items()} if rows == {steps + 1} else None
    if "next_observations" not in given:
        return obs, final
    following = {
        k: as_obs(v, k, place) for k, v in _by_key(given["next_observations"], "next_observations", place).items()
    }
    if {k: v.shape for k, v in following.items()} != {k: v.shape for k, v in obs.items()}:
        raise place.error(
            f"next_observations are {_shapes(following)}, observations {_shapes(obs)},", "Both need one row per step."
        )
    for key, rows_after in following.items():
        _check_follows(arrays[key][1:], rows_after, key, place)
    return obs, {k: v[-1] for k, v in following.items()}


def _shapes(arrays: Mapping[str, Array]) -> str:
    return ", ".join(f"{k!r} {v.shape}" for k, v in arrays.items())


def _check_follows(after: Array, following: Array, key: str, place: Place) -> None:
    """InputError unless next_observations[t] is observations[t + 1]: an Episode contains no other."""
    same = np.isclose(following[: len(after)], after, *_SAME).reshape(len(after), -1).all(axis=1)
    if not same.all():
        step = int(np.flatnonzero(~same)[0])
        raise place.error(
            f"next_observations of {key!r} at step {step} is not the observation of step {step + 1},",
            "Include every step, in order, and end an episode where the next step does not follow.",
        )


def _flags(value: Any, label: str, steps: int, place: Place) -> Array | bool:
    """One bool, or (T,) bool."""
    array = _array(value, label, place)
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise place.error(f"{label!r} has values other than true and false, or 0 and 1,")
    if array.ndim == 0:
        return bool(array)
    return np.asarray(as_column(array, label, steps, place) != 0)


def _success(value: Any, steps: int, place: Place) -> Array | None:
    """(T,) success after each step; one flag is that of the last step."""
    if value is None:
        return None
    flags = _flags(value, "success", steps, place)
    if isinstance(flags, bool):
        return np.asarray((np.arange(steps) == steps - 1) & flags)
    return flags


def _masks(value: Any, steps: int, place: Place) -> Array | None:
    """(T,) bool, False after which nothing counts; one flag is that of the last step."""
    if value is None:
        return None
    array = _array(value, "masks", place)
    if array.ndim == 0:
        array = np.where(np.arange(steps) == steps - 1, array, 1)
    return as_masks(array, steps, place)


def _ending(
    given: Mapping[str, Any], success: Array | None, masks: Array | None, steps: int, place: Place
) -> tuple[bool, bool]:
    """(terminated, truncated).  Not told: terminal where the last step succeeds, or its mask is 0; else cut off."""
    told = {key: _at_end(given[key], key, steps, place) for key in ("terminated", "truncated") if key in given}
    terminated = success is not None and bool(success[-1])
    if "masks" in given:
        ended = masks is not None and not masks[-1]
        if told.get("terminated", ended) != ended:
            raise place.error("'masks' and 'terminated' disagree at the last step")
        terminated = ended
    terminated = told.get("terminated", terminated)
    return terminated, told.get("truncated", not terminated)


def _at_end(value: Any, label: str, steps: int, place: Place) -> bool:
    """A flag of the last step.  InputError where it is set before: the episode ends there."""
    flags = _flags(value, label, steps, place)
    if isinstance(flags, bool):
        return flags
    if flags[:-1].any():
        step = int(np.flatnonzero(flags)[0])
        raise place.error(
            f"{label!r} is set at step {step}, before the last ({steps - 1}),",
            f"End the episode after step {step}, and start another with what follows.",
        )
    return bool(flags[-1])


def _extras(value: Any, steps: int, place: Place) -> dict[str, Array]:
    if not isinstance(value, Mapping):
        raise place.error(f"'extras' is {type(value).__name__}; expected a mapping of arrays")
    found = _by_key(value, "extras", place) if value else {}
    for key, array in found.items():
        if array.dtype.kind not in "biuf" or array.ndim == 0:
            raise place.error(f"{key!r} of 'extras' is {array.dtype} {array.shape}; expected numbers of T rows")
        check_rows(key, len(array), steps, place)
    return found


def _attrs(value: Any, place: Place) -> dict[str, Any]:
    """A copy of the attributes, as JSON gives them back."""
    if not isinstance(value, Mapping):
        raise place.error(f"'attrs' is {type(value).__name__}; expected a mapping")
    try:
        found = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise place.error(f"'attrs' cannot be written as JSON ({error})") from error
    return dict(found)
