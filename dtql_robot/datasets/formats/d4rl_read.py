"""D4RL flat HDF5: (N, ...) observations, actions, rewards, terminals, timeouts, infos/*, maybe next_observations.

Where an episode ends.  By definition `terminals` marks terminal states and `timeouts` ends without one.  Some human
demonstrations (door-human and its siblings) break this: `timeouts` is set where a step counter passed 200, in the
middle of each demonstration, and `terminals` at the end of each recording, success or not.  The observations tell
the two apart, since they jump where an environment was reset and only there.  `timeouts` is disregarded when all of:
1. `terminals` splits the file, and at most of these splits the observation jumps by more than it does in 99% of
   ordinary steps, so a reset is visible in this file;
2. at 95% or more of the timeouts it does not jump so.
The jump from row t to t + 1 is the Euclidean distance, each dimension in units of its standard deviation, between
the next observation expected after t (`next_observations[t]` where stored, else `observations[t]`) and
`observations[t + 1]`.

How it ended.  terminals -> terminated, timeouts or end of file -> truncated.  In a file whose `timeouts` are
disregarded, `terminals` is the end of the recording rather than a terminal state: all episodes are truncated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats import hdf5
from dtql_robot.datasets.formats.episode_checks import Place, as_actions, as_column, as_obs, check_rows
from dtql_robot.datasets.formats.reading import ObsArray, Reading, Request, choose
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode

_SUCCESS_KEYS = ("infos/success", "infos/is_success", "infos/goal_achieved")
_OBS_KEY = "observation"


@dataclass(frozen=True)
class Ends:
    """last: (E,) row of each episode's last step.  terminated, truncated: (E,) bool.  timeouts_used: see above."""

    last: Array
    terminated: Array
    truncated: Array
    timeouts_used: bool


def read(file: h5py.File, request: Request) -> Reading:
    """Adapter for D4RL files; see the module's docstring for the rules."""
    name = hdf5.file_name(file)
    if request.filter_key is not None:
        raise InputError(f"{name} is a D4RL file and has no filter keys; {request.filter_key!r} was asked for.")
    keys = hdf5.children(file)
    place = Place("the file", name)
    missing = [k for k in ("rewards", "terminals") if k not in keys]
    if missing:
        raise InputError(f"{name} looks like a D4RL file but has no {missing[0]!r} (only {', '.join(keys)}).")
    actions = as_actions(hdf5.read_array(file, "actions"), place)
    rows = len(actions)
    rewards = as_column(hdf5.read_array(file, "rewards"), "rewards", rows, place)
    choice = choose({_OBS_KEY: ObsArray(*hdf5.describe(file, "observations"))}, request.obs_keys, name)
    obs = _observations(file, "observations", rows, place)
    next_obs = _observations(file, "next_observations", rows, place) if "next_observations" in keys else None
    terminals = as_column(hdf5.read_array(file, "terminals"), "terminals", rows, place) != 0
    timeouts = np.zeros(rows, bool)
    if "timeouts" in keys:
        timeouts = as_column(hdf5.read_array(file, "timeouts"), "timeouts", rows, place) != 0
    ends = find_ends(obs, next_obs, terminals, timeouts)
    extras = _infos(file, rows) if "infos" in keys else {}
    episodes = _split(obs, next_obs, actions, rewards, extras, ends)
    episodes = tuple(map(request.keep, episodes)) if request.keep else episodes
    attrs = hdf5.attributes(file) | (_metadata(file) if "metadata" in keys else {})
    demos = Demonstrations(episodes, name, "d4rl", None, {}, attrs)
    return Reading(
        demos, _notes(keys, ends, timeouts), choice.left_out, {}, choice.available, unread=_unread(file, rows)
    )


def _observations(file: h5py.File, which: str, rows: int, place: Place) -> Array:
    obs = as_obs(hdf5.read_array(file, which), which, place)
    check_rows(which, len(obs), rows, place)
    return obs


def find_ends(obs: Array, next_obs: Array | None, terminals: Array, timeouts: Array) -> Ends:
    """Rows (N,) at which episodes end, by the rule in the module's docstring."""
    used = not _timeouts_are_inside(obs, next_obs, terminals, timeouts)
    marks = terminals | timeouts if used else terminals.copy()
    marks[-1] = True
    last = np.flatnonzero(marks)
    terminated = terminals[last] if used else np.zeros(len(last), bool)
    return Ends(last, terminated, ~terminated | (timeouts[last] & used), used)


def _timeouts_are_inside(obs: Array, next_obs: Array | None, terminals: Array, timeouts: Array) -> bool:
    splits, cuts = terminals[:-1], timeouts[:-1] & ~terminals[:-1]
    ordinary = ~(splits | cuts)
    if not (splits.any() and cuts.any() and ordinary.any()):
        return False
    flat = obs.reshape(len(obs), -1).astype(np.float64)
    expected = flat if next_obs is None else next_obs.reshape(len(obs), -1).astype(np.float64)
    scale = flat.std(axis=0)
    moving = scale > 0
    jump = np.linalg.norm((flat[1:] - expected[:-1])[:, moving] / scale[moving], axis=1)
    limit = np.quantile(jump[ordinary], 0.99)
    return bool(np.median(jump[splits]) > limit and np.mean(jump[cuts] <= limit) >= 0.95)


def _infos(file: h5py.File, rows: int) -> dict[str, Array]:
    """Numeric arrays below infos with one row a step, keyed "infos/<name>"."""
    found = {}
    for key in hdf5.array_keys(hdf5.subgroup(file, "infos"), "infos/"):
        shape, dtype = hdf5.describe(file, key)
        if _is_info(shape, dtype, rows):
            found[key] = hdf5.read_array(file, key)
    return found


def _split(
    obs: Array,
    next_obs: Array | None,
    actions: Array,
    rewards: Array,
    extras: dict[str, Array],
    ends: Ends,
) -> tuple[Episode, ...]:
    success_key = next((k for k in _SUCCESS_KEYS if k in extras and extras[k].size == len(actions)), None)
    episodes = []
    start = 0
    for index, last in enumerate(ends.last):
        rows = slice(start, int(last) + 1)
        episodes.append(
            Episode(
                name=f"episode_{index}",
                obs={_OBS_KEY: obs[rows]},
                final_obs=None if next_obs is None else {_OBS_KEY: next_obs[last]},
                actions=actions[rows],
                rewards=rewards[rows],
                terminated=bool(ends.terminated[index]),
                truncated=bool(ends.truncated[index]),
                success=None if success_key is None else extras[success_key][rows].reshape(-1) > 0.5,
                extras={k: v[rows] for k, v in extras.items() if k != success_key},
            )
        )
        start = int(last) + 1
    return tuple(episodes)


def _metadata(file: h5py.File) -> dict[str, Any]:
    """The file's `metadata` group, scalars and text only (it may hold whole policy networks)."""
    group = hdf5.subgroup(file, "metadata")
    found: dict[str, Any] = {}
    for key in hdf5.array_keys(group):
        shape, dtype = hdf5.describe(group, key)
        if _is_metadata(shape, dtype):
            with hdf5.reading(hdf5.where(group, key)):
                found[key] = hdf5.plain(hdf5.dataset(group, key)[()])
    return {"metadata": found} if found else {}


def _unread(file: h5py.File, rows: int) -> dict[str, str]:
    """Members of the file that are not kept: name -> description."""
    known = {"observations", "next_observations", "actions", "rewards", "terminals", "timeouts", "infos", "metadata"}
    keys = hdf5.children(file)
    found = {key: "not part of D4RL's layout" for key in keys if key not in known}
    for group in ("infos", "metadata"):
        for key in hdf5.array_keys(hdf5.subgroup(file, group), f"{group}/") if group in keys else ():
            shape, dtype = hdf5.describe(file, key)
            if not (_is_info(shape, dtype, rows) if group == "infos" else _is_metadata(shape, dtype)):
                found[key] = f"{'text' if dtype.kind in 'SUO' else dtype} {shape}"
    return found


def _is_metadata(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    return shape == () and dtype.kind in "biufSO"


def _is_info(shape: tuple[int, ...], dtype: np.dtype[Any], rows: int) -> bool:
    return shape[:1] == (rows,) and dtype.kind in "biuf" and not ObsArray(shape, dtype).is_image


def _notes(keys: Sequence[str], ends: Ends, timeouts: Array) -> tuple[str, ...]:
    if not ends.timeouts_used:
        return (
            f"{int(timeouts.sum())} 'timeouts' lie inside episodes (the observations go on without a jump) and are "
            "disregarded; episodes end at 'terminals', taken as ends of recordings (truncated).",
        )
    return () if "timeouts" in keys else ("the file has no 'timeouts': episodes are split at 'terminals' alone.",)
