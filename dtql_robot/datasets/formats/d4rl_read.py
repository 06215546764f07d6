"""D4RL flat HDF5: (N, ...) observations, actions, rewards, terminals, timeouts, infos/*, maybe next_observations.

Where an episode ends and how is told by `d4rl_ends`.  `infos` may be one array instead of a group.

Files of this package have `metadata/record` besides: JSON with the environment and what else the layout has no place
for.  In them the marks of ends are taken as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats import hdf5, hdf5_attrs, maze_goals
from dtql_robot.datasets.formats.d4rl_ends import Ends, find_ends, marked_ends
from dtql_robot.datasets.formats.episode_checks import Place, as_actions, as_column, as_masks, as_obs, check_rows
from dtql_robot.datasets.formats.hdf5_errors import file_name
from dtql_robot.datasets.formats.own_record import RECORD, Record, parse_record
from dtql_robot.datasets.formats.reading import ObsArray, Reading, Request, choose
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode

_SUCCESS_KEYS = ("infos/success", "infos/is_success", "infos/goal_achieved")
OWN_SUCCESS, OWN_MASKS, OBS_KEY = _SUCCESS_KEYS[0], "infos/masks", "observation"
KNOWN = {"observations", "next_observations", "actions", "rewards", "terminals", "timeouts", "infos", "metadata"}
"""Members of the file."""


def read(file: h5py.File, request: Request) -> Reading:
    """Adapter for D4RL files; see the module's docstring for the rules."""
    name = file_name(file)
    if request.filter_key is not None:
        raise InputError(f"{name} is a D4RL file, which has no filter keys; {request.filter_key!r} was requested.")
    keys = hdf5.children(file)
    place = Place("the file", name)
    missing = [k for k in ("rewards", "terminals") if k not in keys]
    if missing:
        raise InputError(f"{name} looks like a D4RL file but has no {missing[0]!r} (only {', '.join(keys)}).")
    actions = as_actions(hdf5.read_array(file, "actions"), place)
    rows = len(actions)
    rewards = as_column(hdf5.read_array(file, "rewards"), "rewards", rows, place)
    available = {OBS_KEY: ObsArray(*hdf5.describe(file, "observations"))}
    choice = choose(available, request.obs_keys, name)
    obs = _observations(file, "observations", rows, place)
    next_obs = _observations(file, "next_observations", rows, place) if "next_observations" in keys else None
    terminals = _flags(file, "terminals", rows, place)
    timeouts = _flags(file, "timeouts", rows, place) if "timeouts" in keys else None
    written = _own_record(file) if "metadata" in keys else None
    if written is None or request.episode_length is not None:
        ends = find_ends(obs, next_obs, terminals, timeouts, request.episode_length, name)
    else:
        ends = marked_ends(terminals, timeouts)
    extras = _infos(file, rows) if "infos" in keys else {}
    episodes = _split(obs, next_obs, actions, rewards, extras, ends)
    notes = ends.notes
    if written is None:
        notes = (*notes, *((maze_goals.NOTE,) if _by_goal(obs, actions, extras) else ()))
        attrs = hdf5_attrs.attributes(file) | (_metadata(file) if "metadata" in keys else {})
        record = Record(attrs=attrs)
    else:
        record = parse_record(written, f"metadata/{RECORD} of {name}", len(episodes), "'terminals' and 'timeouts'")
        episodes = tuple(_as_recorded(e, i, record, Place(e.name, name)) for i, e in enumerate(episodes))
    episodes = tuple(map(request.keep, episodes)) if request.keep else episodes
    demos = Demonstrations(episodes, name, "d4rl", record.env_spec, record.env_args, record.attrs)
    return Reading(demos, notes, choice.left_out, {}, choice.available, unread=_unread(file, rows))


def _own_record(file: h5py.File) -> str | None:
    """The text of what this package wrote besides the arrays; None in other files."""
    group = hdf5.subgroup(file, "metadata")
    if RECORD not in hdf5.array_keys(group) or not _is_metadata(*hdf5.describe(group, RECORD)):
        return None
    text = hdf5_attrs.plain(hdf5.read_scalar(group, RECORD))
    return text if isinstance(text, str) and text.startswith("{") else None


def _as_recorded(episode: Episode, number: int, record: Record, place: Place) -> Episode:
    """The episode with what the file's record says of it."""
    known = record.episodes.get(number, {})
    extras = dict(episode.extras)
    masks = extras.pop(OWN_MASKS, None)
    names = {k: k.removeprefix("infos/") for k in extras}
    return replace(
        episode,
        name=str(known.get("name", episode.name)),
        final_obs=episode.final_obs if known.get("final_obs", True) else None,
        truncated=bool(known.get("truncated", episode.truncated)),
        extras={names[k] if names[k] in record.plain_extras else k: v for k, v in extras.items()},
        attrs=dict(known.get("attrs", {})),
        masks=None if masks is None else as_masks(masks, len(episode), place),
    )


def _flags(file: h5py.File, key: str, rows: int, place: Place) -> Array:
    return np.asarray(as_column(hdf5.read_array(file, key), key, rows, place) != 0)


def _observations(file: h5py.File, which: str, rows: int, place: Place) -> Array:
    obs = as_obs(hdf5.read_array(file, which), which, place)
    check_rows(which, len(obs), rows, place)
    return obs


def _info_keys(file: h5py.File) -> list[str]:
    node = hdf5.member(file, "infos")
    return hdf5.array_keys(node, "infos/") if isinstance(node, h5py.Group) else ["infos"]


def _infos(file: h5py.File, rows: int) -> dict[str, Array]:
    """Numeric arrays below infos with one row a step, keyed "infos/<name>"."""
    found = {}
    for key in _info_keys(file):
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
    success_key = _success_key(extras, len(actions))
    by_goal = _by_goal(obs, actions, extras)
    episodes = []
    start = 0
    for index, last in enumerate(ends.last):
        rows = slice(start, int(last) + 1)
        final = None if next_obs is None else next_obs[last]
        success = None if success_key is None else extras[success_key][rows].reshape(-1) > 0.5
        if by_goal:
            success = maze_goals.success_of_goal(obs[rows], extras[maze_goals.GOAL][rows], rewards[rows], final)
        episodes.append(
            Episode(
                name=f"episode_{index}",
                obs={OBS_KEY: obs[rows]},
                final_obs=None if final is None else {OBS_KEY: final},
                actions=actions[rows],
                rewards=rewards[rows],
                terminated=bool(ends.terminated[index]),
                truncated=bool(ends.truncated[index]),
                success=success,
                extras={k: v[rows] for k, v in extras.items() if k != success_key},
            )
        )
        start = int(last) + 1
    return tuple(episodes)


def _success_key(extras: dict[str, Array], steps: int) -> str | None:
    return next((k for k in _SUCCESS_KEYS if k in extras and extras[k].size == steps), None)


def _by_goal(obs: Array, actions: Array, extras: dict[str, Array]) -> bool:
    """Whether success is to be read from the goals of an ant maze: no success signal is recorded."""
    if _success_key(extras, len(actions)) is not None:
        return False
    return maze_goals.is_ant_maze(obs, extras.get(maze_goals.GOAL), actions.shape[1])


def _metadata(file: h5py.File) -> dict[str, Any]:
    """The file's `metadata` group, scalars and text only (it may hold whole policy networks)."""
    group = hdf5.subgroup(file, "metadata")
    found: dict[str, Any] = {}
    for key in hdf5.array_keys(group):
        shape, dtype = hdf5.describe(group, key)
        if _is_metadata(shape, dtype):
            found[key] = hdf5_attrs.plain(hdf5.read_scalar(group, key))
    return {"metadata": found} if found else {}


def _unread(file: h5py.File, rows: int) -> dict[str, str]:
    """Members of the file that are not kept: name -> description."""
    keys = hdf5.children(file)
    found = {key: "not part of D4RL's layout" for key in keys if key not in KNOWN}
    for group in ("infos", "metadata"):
        if group not in keys:
            continue
        for key in _info_keys(file) if group == "infos" else hdf5.array_keys(hdf5.subgroup(file, group), f"{group}/"):
            shape, dtype = hdf5.describe(file, key)
            if not (_is_info(shape, dtype, rows) if group == "infos" else _is_metadata(shape, dtype)):
                found[key] = f"{'text' if dtype.kind in 'SUO' else dtype} {shape}"
    return found


def _is_metadata(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    return shape == () and dtype.kind in "biufSO"


def _is_info(shape: tuple[int, ...], dtype: np.dtype[Any], rows: int) -> bool:
    return shape[:1] == (rows,) and dtype.kind in "biuf" and not ObsArray(shape, dtype).is_image
