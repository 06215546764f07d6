"""Minari's HDF5 storage: episode_N/{observations (T + 1), actions (T), rewards, terminations, truncations, infos/*}.

Read with h5py directly; the `minari` package is not needed.  A Box observation becomes key "observation", a Dict is
flattened to "a/b" keys.  `infos` may have T rows (after each step) or T + 1 (that of reset first): success is the
value after each step, rows 1..T; other infos keep rows 0..T-1, so that row 0 belongs to the first observation.
An episode whose flags are both false at the end was cut off by the recording: truncated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats import hdf5, hdf5_attrs
from dtql_robot.datasets.formats.episode_checks import Place, as_actions, as_column, as_masks, as_obs, check_alike
from dtql_robot.datasets.formats.hdf5_errors import file_name, where
from dtql_robot.datasets.formats.kitchen_goals import goal_tasks, is_kitchen, success_of_goals
from dtql_robot.datasets.formats.labels import success_of_attrs
from dtql_robot.datasets.formats.location import METADATA_FILE
from dtql_robot.datasets.formats.minari_spaces import check_actions
from dtql_robot.datasets.formats.reading import (
    ObsArray,
    ObsChoice,
    Reading,
    Request,
    choose,
    copies_of_actions,
    notes_on,
    read_each,
)
from dtql_robot.datasets.formats.robomimic_layout import natural_order
from dtql_robot.env_record import EVAL_SPEC, GYM_SPEC, check_record, recorded_kwargs
from dtql_robot.errors import InputError
from dtql_robot.system.json_text import parse_json
from dtql_robot.types import Array, Demonstrations, Episode

EPISODE = re.compile(r"episode_([0-9]+)")
OBS_KEY = "observation"
OWN_ENV_SPEC = "dtql_robot_env_spec"  # metadata key for environments that Gymnasium does not register
OWN_ENV_ARGS = "dtql_robot_env_args"  # metadata key: JSON of an environment record that is not Gymnasium's
OWN_FILE_ATTRS = "dtql_robot_file_attrs"  # metadata key: JSON of Demonstrations.attrs
OWN_ATTRS = "dtql_robot_attrs"  # episode attribute: JSON of Episode.attrs
PLAIN_EXTRAS = "dtql_robot_extras"  # episode attribute: JSON list of the infos that were not below infos/ before
HAS_FINAL_OBS = "has_final_obs"
HAS_MASKS = "has_masks"  # episode attribute: infos/masks says which steps count
_SUCCESS_KEYS = ("success", "is_success", "goal_achieved")
_STORAGE_ATTRS = {"id", "total_steps", OWN_ATTRS, PLAIN_EXTRAS, HAS_FINAL_OBS, HAS_MASKS}
_STORAGE_METADATA = {
    *(
        "dataset_id",
        "total_episodes",
        "total_steps",
        "observation_space",
        "action_space",
        "env_spec",
        EVAL_SPEC,
        "data_format",
    ),
    *("jpeg_encoding", "dataset_size", OWN_ENV_SPEC, OWN_ENV_ARGS),
}


def read(file: h5py.File, request: Request) -> Reading:
    """Adapter for Minari files; see the module's docstring for the rules."""
    name = file_name(file)
    if request.filter_key is not None:
        raise InputError(f"{name} is a Minari file and has no filter keys; {request.filter_key!r} was requested.")
    names = sorted((k for k in hdf5.children(file) if EPISODE.fullmatch(k)), key=lambda k: natural_order(k))
    record = _record(file)
    check_actions(record.get("action_space"), name)
    first = hdf5.subgroup(file, names[0])
    available = _available(first)
    choice = choose(available, request.obs_keys, name, lambda: _copies(first, available))
    env_spec, env_args = _environment(record, name)
    goals = is_kitchen(env_spec)
    episodes = read_each(names, lambda k: _episode(hdf5.subgroup(file, k), k, choice, goals, name), request)
    check_alike(episodes, name)
    notes = notes_on(choice)
    if not env_spec and EVAL_SPEC not in env_args:
        notes = (*notes, "the dataset does not name its environment (no env_spec).")
    if EVAL_SPEC in env_args:
        notes = (*notes, f"policies are evaluated in the dataset's eval_env_spec, {told_apart(env_args)}.")
    if goals and goal_tasks(choice.available):
        notes = (*notes, "success is read from the goals: every task was within 0.3 of its goal at some step.")
    demos = Demonstrations(episodes, name, "minari", env_spec, env_args, _file_attrs(record, name))
    unread = _unread(hdf5.subgroup(file, names[0]), len(episodes[0]))
    return Reading(demos, notes, choice.left_out, {}, choice.available, unread=unread)


def _available(episode: h5py.Group) -> dict[str, ObsArray]:
    keys = hdf5.children(episode)
    if "observations" not in keys:
        raise InputError(f"{where(episode)} has no 'observations' (only {', '.join(keys) or 'nothing'}).")
    node = hdf5.member(episode, "observations")
    if isinstance(node, h5py.Dataset):
        return {OBS_KEY: _obs_array(episode, "observations")}
    return {key: _obs_array(node, key) for key in hdf5.array_keys(node)}


def _copies(episode: h5py.Group, available: dict[str, ObsArray]) -> frozenset[str]:
    node = hdf5.member(episode, "actions") if "actions" in hdf5.children(episode) else None
    if not isinstance(node, h5py.Dataset) or hdf5.describe(episode, "actions")[1].kind not in "biuf":
        return frozenset()
    flat = OBS_KEY in available and isinstance(hdf5.member(episode, "observations"), h5py.Dataset)
    prefix = "observations" if flat else "observations/"
    return copies_of_actions(
        available,
        hdf5.read_array(episode, "actions"),
        lambda k: hdf5.read_array(episode, prefix if flat else prefix + k),
    )


def _obs_array(group: h5py.Group, key: str) -> ObsArray:
    """Encoded images are rows of bytes, of equal or of varying length, that start with JPEG's marker."""
    shape, dtype = hdf5.describe(group, key)
    jpeg = h5py.check_vlen_dtype(dtype) == np.uint8
    if dtype == np.uint8 and len(shape) == 2 and shape[0] > 0 and shape[1] > 3:
        jpeg = bytes(hdf5.read_last(group, key)[1][:3]) == b"\xff\xd8\xff"
    return ObsArray(shape, dtype, jpeg)


def _episode(group: h5py.Group, name: str, choice: ObsChoice, goals: bool, file: str) -> Episode:
    place = Place(name, file)
    keys = hdf5.children(group)
    for key in ("observations", "actions", "rewards", "terminations", "truncations"):
        if key not in keys:
            raise place.error(f"there is no {key!r} (only {', '.join(keys) or 'nothing'})")
    if not isinstance(hdf5.member(group, "actions"), h5py.Dataset):
        raise place.error("'actions' is a group (Dict or Tuple actions); only Box actions are supported")
    actions = as_actions(hdf5.read_array(group, "actions"), place)
    steps = len(actions)
    flags = [as_column(hdf5.read_array(group, k), k, steps, place) for k in ("terminations", "truncations")]
    terminated, truncated = (bool(flag[-1]) for flag in flags)
    obs = _observations(group, choice.keys, steps, place)
    attrs = hdf5_attrs.attributes(group)
    success, extras = _infos(group, _plain_extras(attrs, place), steps, place) if "infos" in keys else (None, {})
    masks = None
    if attrs.get(HAS_MASKS) and "infos/masks" in extras:
        masks = as_masks(extras.pop("infos/masks"), steps, place)
    if success is None:
        success = success_of_attrs(attrs, steps)
    if success is None and goals:
        tasks = [k for k in choice.available if k.startswith(("achieved_goal/", "desired_goal/"))]
        success = success_of_goals(_observations(group, tasks, steps, place))
    return Episode(
        name=name,
        obs={k: v[:-1] for k, v in obs.items()},
        final_obs={k: v[-1] for k, v in obs.items()} if attrs.get(HAS_FINAL_OBS, True) else None,
        actions=actions,
        rewards=as_column(hdf5.read_array(group, "rewards"), "rewards", steps, place),
        terminated=terminated,
        truncated=truncated or not terminated,
        success=success,
        extras=extras,
        attrs=_attrs(attrs, place),
        masks=masks,
    )


def _observations(group: h5py.Group, keys: Sequence[str], steps: int, place: Place) -> dict[str, Array]:
    """(T + 1, ...) arrays."""
    node = hdf5.member(group, "observations")
    flat = isinstance(node, h5py.Dataset)
    available = [OBS_KEY] if flat else hdf5.array_keys(node)
    found = {}
    for key in keys:
        if key not in available:
            raise place.error(f"no observation {key!r} (available: {', '.join(available)})")
        array = hdf5.read_array(group, "observations" if flat else f"observations/{key}")
        found[key] = as_obs(array, key, place)
        if len(array) != steps + 1:
            raise place.error(
                f"'actions' has {steps} rows, observation {key!r} has {len(array)} ({steps + 1} expected)"
            )
    return found


def _plain_extras(attrs: dict[str, Any], place: Place) -> set[str]:
    try:
        return set(map(str, parse_json(attrs.get(PLAIN_EXTRAS, "[]"))))
    except (TypeError, ValueError) as error:
        raise place.error(f"attribute {PLAIN_EXTRAS!r} is not a JSON list ({error})") from error


def _is_info(shape: tuple[int, ...], dtype: np.dtype[Any], steps: int) -> bool:
    return dtype.kind in "biuf" and shape[:1] in ((steps,), (steps + 1,)) and not ObsArray(shape, dtype).is_image


def _unread(group: h5py.Group, steps: int) -> dict[str, str]:
    """Infos and other members of this episode that are not kept: name -> description."""
    known = {"observations", "actions", "rewards", "terminations", "truncations", "infos"}
    found = {key: "not part of Minari's layout" for key in hdf5.children(group) if key not in known}
    if "infos" in hdf5.children(group):
        infos = hdf5.subgroup(group, "infos")
        for key, array in hdf5.arrays(infos):
            if not _is_info(array.shape, array.dtype, steps):
                found[f"infos/{key}"] = f"{'text' if array.dtype.kind in 'SUO' else array.dtype} {array.shape}"
    return found


def _infos(group: h5py.Group, plain: set[str], steps: int, place: Place) -> tuple[Array | None, dict[str, Array]]:
    success = None
    extras = {}
    infos = hdf5.subgroup(group, "infos")
    for key, array in hdf5.arrays(infos):
        if not _is_info(array.shape, array.dtype, steps):
            continue
        values = array.read()
        if key in _SUCCESS_KEYS and success is None and values.size == len(values):
            success = as_column(values[-steps:], f"infos/{key}", steps, place) > 0.5
        else:
            extras[key if key in plain else f"infos/{key}"] = values[:steps]
    return success, extras


def _attrs(attrs: dict[str, Any], place: Place) -> dict[str, Any]:
    kept = {k: v for k, v in attrs.items() if k not in _STORAGE_ATTRS}
    if OWN_ATTRS in attrs:
        kept |= hdf5_attrs.parse_json_object(
            attrs[OWN_ATTRS], f"{place.episode}: attribute {OWN_ATTRS!r} in {place.file}"
        )
    return kept


def _record(file: h5py.File) -> dict[str, Any]:
    """metadata.json beside the file, else the file's attributes (Minari before 0.5)."""
    record = _metadata(Path(str(file.filename)).with_name(METADATA_FILE)) or hdf5_attrs.attributes(file)
    if record.get("data_format", "hdf5") != "hdf5":
        raise InputError(
            f"{file_name(file)}: {METADATA_FILE} says data_format={record['data_format']!r}; only 'hdf5' is supported."
        )
    return record


def _environment(record: dict[str, Any], file: str) -> tuple[str | None, dict[str, Any]]:
    env_args: dict[str, Any] = {}
    if record.get("env_spec") is not None:
        place = f"'env_spec' of {file}"
        env_args = check_record(hdf5_attrs.parse_json_object(record["env_spec"], place), place)
    env_spec = record.get(OWN_ENV_SPEC) or env_args.get("id")
    if OWN_ENV_ARGS in record:
        place = f"{OWN_ENV_ARGS!r} of {file}"
        own = check_record(hdf5_attrs.parse_json_object(record[OWN_ENV_ARGS], place), place)
        gym = {k: v for k, v in (own.get(GYM_SPEC) or {}).items() if k != EVAL_SPEC}
        env_args = env_args if env_args and gym == env_args else own
    if record.get(EVAL_SPEC) is not None:
        place = f"{EVAL_SPEC!r} of {file}"
        judged = check_record(hdf5_attrs.parse_json_object(record[EVAL_SPEC], place), place)
        if judged != {k: v for k, v in env_args.items() if k != EVAL_SPEC}:
            env_args = {**env_args, EVAL_SPEC: judged}
    return (env_spec if isinstance(env_spec, str) else None), env_args


def told_apart(env_args: dict[str, Any]) -> str:
    """The environment of evaluation and the settings in which it is another than that of the recording."""
    judged = env_args[EVAL_SPEC]
    kwargs, limit = recorded_kwargs(judged)
    before, limit_before = recorded_kwargs({k: v for k, v in env_args.items() if k != EVAL_SPEC})
    settings = [f"{k}={v!r}" for k, v in kwargs.items() if before.get(k) != v]
    settings += [f"max_episode_steps={limit}"] if limit != limit_before else []
    return f"{judged.get('id')} ({', '.join(settings)})" if settings else str(judged.get("id"))


def _file_attrs(record: dict[str, Any], file: str) -> dict[str, Any]:
    """What the dataset says about itself (description, author, ...), besides the environment and its own size."""
    if OWN_FILE_ATTRS in record:
        return hdf5_attrs.parse_json_object(record[OWN_FILE_ATTRS], f"{OWN_FILE_ATTRS!r} of {file}")
    return {k: v for k, v in record.items() if k not in _STORAGE_METADATA and v is not None}


def _metadata(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    return hdf5_attrs.parse_json_object(text, str(path))
