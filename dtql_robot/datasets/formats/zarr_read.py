"""Diffusion Policy's Zarr stores: data/{action, <observation>, ...} (N, ...) and meta/episode_ends (E,).

Episode i is rows episode_ends[i - 1] to episode_ends[i].  What else lies below `data` are observations, but for
rewards, success, and notes of the recorder (`timestamp`, `stage`, ...), which no environment gives: those become
extras.  Episodes are cut off (truncated), except where the store says that the last step succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dtql_robot.datasets.formats.episode_checks import Place, as_actions, as_column, as_obs
from dtql_robot.datasets.formats.labels import LABELS
from dtql_robot.datasets.formats.reading import (
    ObsArray,
    Reading,
    Request,
    choose,
    copies_of_actions,
    notes_on,
    read_each,
)
from dtql_robot.datasets.formats.zarr_store import ZarrStore, open_store
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode

_ENDS = "meta/episode_ends"
_ACTIONS = ("action", "actions")
_REWARDS = ("reward", "rewards")
_NOTES = {"timestamp", "timestamps", "stage", "done", "dones", "terminals", "timeouts", "episode_index", "frame_index"}


@dataclass(frozen=True)
class _Roles:
    """Which array below `data` is what: the first of the known names that is there."""

    actions: str
    rewards: str | None
    success: str | None
    notes: tuple[str, ...]
    obs: tuple[str, ...]


def read(path: Path, request: Request) -> Reading:
    """Reader of Zarr stores; see the module's docstring for the rules."""
    if request.filter_key is not None:
        raise InputError(f"{path.name} is a Zarr store and has no filter keys; {request.filter_key!r} was requested.")
    with open_store(path) as store:
        return _read(store, request)


def _read(store: ZarrStore, request: Request) -> Reading:
    file = store.path.name
    stored = {k.removeprefix("data/"): v for k, v in store.described.items() if k.startswith("data/")}
    roles = _roles(stored, store)
    ends = _ends(store)
    rows = int(ends[-1])
    for key, array in stored.items():
        if array.shape[:1] != (rows,):
            raise InputError(
                f"'data/{key}' of {file} has shape {array.shape}; expected {rows} rows, the last entry of '{_ENDS}'."
            )
    loaded: dict[str, Array] = {}

    def array_of(key: str) -> Array:
        if key not in loaded:
            loaded[key] = store.read(f"data/{key}")
        return loaded[key]

    available = {key: stored[key] for key in roles.obs}
    choice = choose(
        available,
        request.obs_keys,
        file,
        lambda: copies_of_actions(available, array_of(roles.actions), array_of),
    )
    starts = dict(zip((f"episode_{i}" for i in range(len(ends))), [0, *ends[:-1].tolist()], strict=True))
    stops = dict(zip(starts, ends.tolist(), strict=True))
    noted = [k for k in roles.notes if stored[k].is_numeric and not stored[k].is_image]
    wanted = {k: array_of(k) for k in (*choice.keys, roles.actions, roles.rewards, roles.success, *noted) if k}

    def read_one(name: str) -> Episode:
        part = {key: array[starts[name] : stops[name]] for key, array in wanted.items()}
        return _episode(part, choice.keys, roles, noted, Place(name, file))

    episodes = read_each(list(starts), read_one, request)
    demos = Demonstrations(episodes, file, "zarr", None, {}, store.attrs())
    notes = (*notes_on(choice), *store.notes, "a Zarr store does not name its environment.")
    return Reading(demos, notes, choice.left_out, {}, choice.available, unread=_unread(store, roles, noted))


def _roles(stored: dict[str, ObsArray], store: ZarrStore) -> _Roles:
    def first(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in stored), None)

    actions, rewards, success = first(_ACTIONS), first(_REWARDS), first(LABELS)
    if actions is None or _ENDS not in store.described:
        missing = f"data/{_ACTIONS[0]}" if actions is None else _ENDS
        held = ", ".join(list(store.described)[:8]) or "no arrays"
        raise InputError(
            f"{store.path} has no {missing!r} (it holds {held}); expected a Zarr store of Diffusion Policy "
            f"(data/action, {_ENDS})."
        )
    notes = tuple(k for k in stored if k in _NOTES)
    taken = {actions, rewards, success, *notes}
    return _Roles(actions, rewards, success, notes, tuple(k for k in stored if k not in taken))


def _ends(store: ZarrStore) -> Array:
    """(E,) row after each episode's last."""
    described = store.described[_ENDS]
    ends = store.read(_ENDS)
    if ends.ndim != 1 or not len(ends) or ends.dtype.kind not in "iu":
        raise InputError(
            f"'{_ENDS}' of {store.path} is {described.dtype} {described.shape}; expected one whole number per episode."
        )
    ends = ends.astype(np.int64)
    lengths = np.diff(ends, prepend=0)
    if lengths.min() < 1:
        bad = int(np.argmin(lengths))
        raise InputError(
            f"'{_ENDS}' of {store.path} ends episode {bad} at row {ends[bad]}, after {lengths[bad]} "
            "steps; each must be larger than the one before."
        )
    return np.asarray(ends)


def _episode(part: dict[str, Array], keys: tuple[str, ...], roles: _Roles, noted: list[str], place: Place) -> Episode:
    actions = as_actions(part[roles.actions], place)
    steps = len(actions)
    success = None
    if roles.success is not None:
        success = np.asarray(as_column(part[roles.success], roles.success, steps, place) > 0.5)
    solved = success is not None and bool(success[-1])
    rewards = np.zeros(steps, np.float32)
    if roles.rewards is not None:
        rewards = as_column(part[roles.rewards], roles.rewards, steps, place)
    return Episode(
        name=place.episode,
        obs={k: as_obs(part[k], k, place) for k in keys},
        final_obs=None,
        actions=actions,
        rewards=rewards,
        terminated=solved,
        truncated=not solved,
        success=success,
        extras={k: part[k] for k in noted},
        attrs={"rewards_missing": True} if roles.rewards is None else {},
    )


def _unread(store: ZarrStore, roles: _Roles, noted: list[str]) -> dict[str, str]:
    """Arrays that are neither kept nor observations: name -> description."""
    known = {_ENDS, *(f"data/{k}" for k in (roles.actions, roles.rewards, roles.success, *noted, *roles.obs) if k)}
    return {k: f"{v.dtype} {v.shape}" for k, v in store.described.items() if k not in known}
