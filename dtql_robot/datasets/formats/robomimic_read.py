"""robomimic HDF5: data/demo_N/{actions, obs/<key>, next_obs/<key>, rewards, dones, ...}, mask/<filter key>.

How an episode ended.  robomimic's `dones` may mean success, end of trajectory, or both, and the file does not say
which.  So, in this order:
1. attributes `terminated` and `truncated` of the demo (this package's writer) are taken as they are;
2. where success is known, an episode that ends in success is terminated, since nothing more is earned in the
   task after it, and every other one is truncated, whatever `dones` says;
3. where success is not known and `dones` ends in 1 in some episodes and in 0 in others, 1 means terminated;
4. else `dones` marks at most the end of the recording, and the episode is truncated.

Success.  The demo's own `success` array; else the attribute `success` (or `is_success`, ...) of the demo or of `data`,
which labels the last step unless it lists all; else, where all rewards of the file are 0 or 1 and some are 1,
reward == 1, which is robomimic's convention for sparse rewards, unless it is 1 from the first step on, or nearly always
(a reward for being alive); else not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats import hdf5, hdf5_attrs
from dtql_robot.datasets.formats.episode_checks import (
    Place,
    as_actions,
    as_column,
    as_masks,
    check_alike,
)
from dtql_robot.datasets.formats.hdf5_errors import file_name
from dtql_robot.datasets.formats.labels import LABELS, labels_of_file, success_of_attrs, why_no_success
from dtql_robot.datasets.formats.reading import (
    ObsChoice,
    Reading,
    Request,
    choose,
    notes_on,
    read_each,
)
from dtql_robot.datasets.formats.robomimic_layout import (
    CLAIMED_STEPS,
    HAS_FINAL_OBS,
    HAS_MASKS,
    HAS_SUCCESS,
    NEXT_OBS_DIFFERS,
    demo_attrs,
    demo_names,
    environment,
    file_attrs,
    natural_order,
    read_filters,
    step_extras,
    unread_arrays,
)
from dtql_robot.datasets.formats.robomimic_obs import (
    FLAT,
    OBSERVATION,
    action_copies,
    available_obs,
    differing_next_obs,
    first_with_obs,
    read_final_obs,
    read_obs,
)
from dtql_robot.env_record import env_spec_of
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode

_COMPARED = 10  # demos of a file whose next_obs is compared with obs, at one step


@dataclass(frozen=True)
class _Conventions:
    """What the file as a whole tells about its rewards and dones."""

    reward_is_success: bool
    why_no_success: str | None
    done_is_terminal: bool
    labels: Mapping[str, bool]


def read(file: h5py.File, request: Request) -> Reading:
    """Adapter for robomimic files; see the module's docstring for the rules."""
    name = file_name(file)
    data = hdf5.subgroup(file, "data")
    names = demo_names(data)
    if not names:
        raise InputError(f"{name} contains no demonstrations: its group 'data' has no demo_N.")
    filters = read_filters(file)
    chosen = _select(names, filters, request.filter_key, name)
    first = hdf5.subgroup(data, chosen[0]) if request.problems is None else first_with_obs(data, chosen)
    available = available_obs(first, name)
    env_args = environment(data, name)
    flat = set(available) == {FLAT} and not str(env_spec_of(env_args)).startswith("robosuite:")
    keys = [FLAT] if flat and request.obs_keys in ([OBSERVATION], (OBSERVATION,)) else request.obs_keys
    choice = choose(available, keys, name, lambda: action_copies(first, available))
    unread = _unread(file, first)
    demos_read = _open_demos(data, names, request.problems)
    about = file_attrs(data, name)
    conventions = _conventions(list(demos_read.values()), labels_of_file(about, names))
    labelled = any("success" in d.keys for d in demos_read.values())
    present = [k for k in chosen if k in demos_read]
    compared = set(present[:_COMPARED])

    def read_one(key: str) -> Episode:
        episode = _episode(demos_read.pop(key), key, choice, conventions, name, key in compared)
        return _with_gyms_name(episode) if flat else episode

    episodes = read_each(present, read_one, request)
    check_alike(episodes, name)
    demos = Demonstrations(episodes, name, "robomimic", env_spec_of(env_args), env_args, about)
    return Reading(
        demos,
        (*_notes(demos, conventions, labelled), *notes_on(choice)),
        choice.left_out,
        filters,
        {OBSERVATION: choice.available[FLAT]} if flat else choice.available,
        tuple(names),
        unread,
    )


def _with_gyms_name(episode: Episode) -> Episode:
    """The only observation of robomimic's Gym layout, obs/flat, under the name that environments give it."""
    final = episode.final_obs
    return replace(
        episode,
        obs={OBSERVATION: episode.obs[FLAT]},
        final_obs=None if final is None else {OBSERVATION: final[FLAT]},
    )


def _select(names: list[str], filters: dict[str, list[str]], filter_key: str | None, file: str) -> list[str]:
    if filter_key is None:
        return names
    if filter_key not in filters:
        known = f"available: {', '.join(filters)}" if filters else "the file has none"
        raise InputError(f"{file}: no filter key {filter_key!r}; {known}.")
    wanted = set(filters[filter_key])
    missing = sorted(wanted - set(names), key=natural_order)
    if missing:
        raise InputError(f"{file}: filter key {filter_key!r} names {missing[0]}, which is not in the file.")
    if not wanted:
        raise InputError(f"{file}: filter key {filter_key!r} selects no demonstrations.")
    return [k for k in names if k in wanted]


@dataclass(frozen=True)
class _Demo:
    """An opened demo with what decides about the whole file's conventions."""

    group: h5py.Group
    keys: list[str]
    rewards: Array | None
    dones: Array | None


def _open_demos(data: h5py.Group, names: Sequence[str], problems: list[str] | None) -> dict[str, _Demo]:
    demos = {}
    for name in names:
        try:
            group = hdf5.subgroup(data, name)
            keys = hdf5.children(group)
            rewards, dones = (hdf5.read_array(group, k) if k in keys else None for k in ("rewards", "dones"))
            demos[name] = _Demo(group, keys, rewards, dones)
        except InputError as error:
            if problems is None:
                raise
            problems.append(str(error))
    return demos


def _conventions(demos: Sequence[_Demo], labels: Mapping[str, bool]) -> _Conventions:
    rewards: set[float] = set()
    done_at_end: set[bool] = set()
    for demo in demos:
        if demo.rewards is not None and rewards <= {0.0, 1.0}:
            rewards |= set(np.unique(demo.rewards).tolist())
        if demo.dones is not None and len(done_at_end) < 2 and demo.dones.ndim and len(demo.dones):
            done_at_end.add(bool(demo.dones[-1].any()))
    binary = rewards <= {0.0, 1.0} and 1.0 in rewards
    no_success = why_no_success([d.rewards for d in demos if d.rewards is not None]) if binary else None
    return _Conventions(binary and no_success is None, no_success, len(done_at_end) == 2, labels)


def _episode(
    opened: _Demo, name: str, choice: ObsChoice, conventions: _Conventions, file: str, compare: bool
) -> Episode:
    place = Place(name, file)
    demo, keys = opened.group, opened.keys
    if "actions" not in keys:
        raise place.error(f"there are no 'actions' (only {', '.join(keys) or 'nothing'})")
    actions = as_actions(hdf5.read_array(demo, "actions"), place)
    steps = len(actions)
    attrs = hdf5_attrs.attributes(demo)
    if opened.rewards is not None:
        rewards = as_column(opened.rewards, "rewards", steps, place)
    else:
        rewards = np.zeros(steps, np.float32)
        attrs["rewards_missing"] = True
    dones = None if opened.dones is None else as_column(opened.dones, "dones", steps, place)
    success = _success(demo, keys, rewards, attrs, conventions, place)
    terminated = success is not None and bool(success[-1])
    if success is None and dones is not None and conventions.done_is_terminal:
        terminated = bool(dones[-1])
    terminated = _flag(attrs, "terminated", terminated)
    obs = read_obs(demo, keys, choice.keys, steps, place)
    differs = differing_next_obs(demo, obs, place) if compare and "next_obs" in keys else None
    extras = step_extras(demo, keys, steps)
    masks = as_masks(extras.pop("masks"), steps, place) if attrs.get(HAS_MASKS) and "masks" in extras else None
    return Episode(
        name=name,
        obs=obs,
        final_obs=read_final_obs(demo, keys, choice.keys, steps, place) if attrs.get(HAS_FINAL_OBS, True) else None,
        actions=actions,
        rewards=rewards,
        terminated=terminated,
        truncated=_flag(attrs, "truncated", not terminated),
        success=success,
        extras=extras,
        attrs=_attrs(attrs, steps, differs, place),
        masks=masks,
    )


def _flag(attrs: Mapping[str, Any], key: str, otherwise: bool) -> bool:
    flag = hdf5_attrs.as_flag(attrs.get(key))
    return otherwise if flag is None else flag


def _success(
    demo: h5py.Group,
    keys: Sequence[str],
    rewards: Array,
    attrs: dict[str, Any],
    conventions: _Conventions,
    place: Place,
) -> Array | None:
    if "success" in keys:
        recorded = hdf5.read_array(demo, "success")
        return np.asarray(as_column(recorded, "success", len(rewards), place) > 0.5)
    if attrs.get(HAS_SUCCESS, True):
        labelled = success_of_attrs(attrs, len(rewards))
        if labelled is None and place.episode in conventions.labels:
            labelled = success_of_attrs({"success": conventions.labels[place.episode]}, len(rewards))
        if labelled is not None:
            return labelled
    if conventions.reward_is_success and attrs.get(HAS_SUCCESS, True) and "rewards_missing" not in attrs:
        return np.asarray(rewards == 1.0)
    return None


def _unread(file: h5py.File, demo: h5py.Group) -> dict[str, str]:
    """What else this demo and the file hold, and `Episode` does not: name -> description."""
    steps = hdf5.describe(demo, "actions")[0][:1] if "actions" in hdf5.children(demo) else ()
    return unread_arrays(demo, steps[0] if steps else 0) | {
        key: "outside 'data' and 'mask'" for key in hdf5.children(file) if key not in ("data", "mask")
    }


def _attrs(attrs: dict[str, Any], steps: int, differs: str | None, place: Place) -> dict[str, Any]:
    kept = demo_attrs(attrs, place)
    if attrs.get("num_samples", steps) != steps:
        kept[CLAIMED_STEPS] = attrs["num_samples"]
    if differs is not None:
        kept[NEXT_OBS_DIFFERS] = differs
    return kept


def _notes(demos: Demonstrations, conventions: _Conventions, labelled: bool) -> tuple[str, ...]:
    notes = []
    by_attribute = bool(conventions.labels) or any(key in e.attrs for e in demos.episodes for key in LABELS)
    if by_attribute and not labelled:
        notes.append("success is read from an attribute of the episodes, which says how each of them ends.")
    elif conventions.reward_is_success and not labelled:
        notes.append("success is read from the rewards (all are 0 or 1; 1 is success).")
    elif conventions.why_no_success and not labelled:
        notes.append(f"a reward of 1 is not taken for success: {conventions.why_no_success}, as for staying alive.")
    if not demos.env_args:
        notes.append("the file does not name its environment (no env_args).")
    return tuple(notes)
