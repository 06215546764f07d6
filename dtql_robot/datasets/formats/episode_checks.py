"""The shape and value rules that every episode meets, whatever file it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtql_robot.datasets.formats.precision import note_range
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode, is_image


@dataclass(frozen=True)
class Place:
    """An episode of a file, for messages."""

    episode: str
    file: str

    def error(self, text: str, remedy: str = "") -> InputError:
        """The InputError that says what is wrong at this place."""
        return InputError(f"{self.episode}: {text} in {self.file}{'. ' + remedy if remedy else ''}")


def as_float32(array: Array, label: str, place: Place) -> Array:
    """Finite float32 copy of numeric `array` (any shape)."""
    if array.dtype.kind not in "biuf":
        raise place.error(f"{label!r} has dtype {array.dtype}; expected numbers")
    with np.errstate(over="ignore"):  # what overflows float32 is reported below
        converted = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(converted)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        at = f" at {list(index)}" if index else ""
        raise place.error(
            f"{label!r} is {np.asarray(array)[index]}{at}, which is not a finite float32,",
            "Repair or remove that episode.",
        )
    note_range(label, array)
    return converted


def check_rows(label: str, rows: int, steps: int, place: Place) -> None:
    """InputError unless `rows`, those of array `label`, equals the number of actions."""
    if rows != steps:
        raise place.error(f"'actions' has {steps} rows, {label!r} has {rows}")


def as_actions(array: Array, place: Place) -> Array:
    """(T, A) float32 with T, A >= 1."""
    if array.ndim != 2 or 0 in array.shape:
        raise place.error(
            f"'actions' has shape {array.shape}; expected (steps, dims) with at least one of each",
            "Only continuous actions are supported." if array.ndim < 2 else "",
        )
    if array.dtype.kind in "iub" and (array.dtype.kind == "b" or np.any((array < -1) | (array > 1))):
        raise place.error(
            f"'actions' holds {array.dtype}, categories or switches; expected continuous actions",
            "Only continuous actions are supported; if these are, write them as float32.",
        )
    return as_float32(array, "actions", place)


def as_column(array: Array, label: str, steps: int, place: Place) -> Array:
    """(T,) float32 from (T,) or (T, 1)."""
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        raise place.error(f"{label!r} has shape {array.shape}; expected ({steps},)")
    check_rows(label, len(array), steps, place)
    return as_float32(array.reshape(-1), label, place)


def as_obs(array: Array, key: str, place: Place) -> Array:
    """(rows, ...) observation: images stay uint8, everything else becomes finite float32; (rows,) becomes (rows, 1)."""
    if array.ndim == 0 or array.size == 0:
        raise place.error(f"observation {key!r} has shape {array.shape}, which contains no values,")
    if array.dtype == np.uint8 and is_image(array.shape[1:], array.dtype):
        return np.ascontiguousarray(array)
    return as_float32(array.reshape(len(array), 1) if array.ndim == 1 else array, key, place)


def as_masks(array: Array, steps: int, place: Place) -> Array | None:
    """(T,) bool from zeros and ones; None where every step counts."""
    flags = as_column(array, "masks", steps, place)
    other = np.flatnonzero((flags != 0) & (flags != 1))
    if len(other):
        step = int(other[0])
        raise place.error(f"'masks' is {flags[step]:g} at step {step}; expected 1 (continue) or 0 (the task is done)")
    return None if flags.all() else np.asarray(flags == 1)


def check_alike(episodes: Sequence[Episode], file: str) -> None:
    """InputError unless all episodes have the first one's action size and observation shapes."""
    if not episodes:
        raise InputError(f"{file} contains no episodes.")
    first = episodes[0]
    expected = {k: v.shape[1:] for k, v in first.obs.items()}
    for episode in episodes:
        place = Place(episode.name, file)
        if episode.actions.shape[1] != first.actions.shape[1]:
            raise place.error(
                f"actions have {episode.actions.shape[1]} dims, those of {first.name} {first.actions.shape[1]},"
            )
        found = {k: v.shape[1:] for k, v in episode.obs.items()}
        if found != expected:
            raise place.error(f"observations are {found}, those of {first.name} {expected},")


def check_flat(demos: Demonstrations, file: str) -> None:
    """InputError unless `load` could have returned them, with one observation: for writers of flat layouts."""
    for episode in demos.episodes:
        check_episode(episode, file)
    check_alike(demos.episodes, file)
    if len(demos.obs_shapes) > 1:
        raise InputError(
            f"{file} has room for one observation, but {demos.source} has {', '.join(demos.obs_shapes)}. "
            "Keep one with --obs-keys, or write another format."
        )


def check_episode(episode: Episode, file: str) -> None:
    """InputError unless `episode` is one that `load` could have returned; writers call it first."""
    place = Place(episode.name, file)
    as_actions(np.asarray(episode.actions), place)
    steps = len(episode)
    as_column(np.asarray(episode.rewards), "rewards", steps, place)
    if not episode.obs:
        raise place.error("there are no observations")
    for key, value in episode.obs.items():
        check_rows(key, len(as_obs(np.asarray(value), key, place)), steps, place)
    for label, rows in (
        *episode.extras.items(),
        *((("success", episode.success),) if episode.success is not None else ()),
    ):
        if np.asarray(rows).dtype.kind not in "biuf":
            raise place.error(f"{label!r} has dtype {np.asarray(rows).dtype}; expected numbers")
        check_rows(label, len(np.atleast_1d(rows)), steps, place)
    if episode.masks is not None:
        as_masks(np.asarray(episode.masks), steps, place)
    if episode.final_obs is not None:
        found = {k: np.shape(v) for k, v in episode.final_obs.items()}
        expected = {k: np.shape(v)[1:] for k, v in episode.obs.items()}
        if found != expected:
            raise place.error(f"final_obs is {found}, a row of obs {expected},")
        for key, value in episode.final_obs.items():
            as_obs(np.asarray(value)[None], key, place)
