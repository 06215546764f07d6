"""Recordings of simulator states: robosuite's collection files, and any robomimic file that kept its `states`.

data/demo_N/{actions (T, A), states (T, S)} with attribute `model_file` (the simulated model as XML).  states[t] is the
flattened MuJoCo state (time, qpos, qvel) before action t.  The environment is in `data`'s attribute `env_args`
(robomimic), or in `env` and `env_info` (robosuite's own collection script: the arguments of `robosuite.make`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats import hdf5, hdf5_attrs
from dtql_robot.datasets.formats.episode_checks import Place, as_actions, check_rows
from dtql_robot.datasets.formats.file_kind import kind_of
from dtql_robot.datasets.formats.hdf5_open import open_file
from dtql_robot.datasets.formats.location import resolve
from dtql_robot.datasets.formats.plugin_read import split_plugin
from dtql_robot.datasets.formats.robomimic_layout import (
    demo_attrs,
    demo_names,
    file_attrs,
    read_filters,
    step_extras,
    unread_arrays,
)
from dtql_robot.env_record import ENV_TYPE_ROBOSUITE, check_record, env_spec_of, record_as
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode

_MODEL_NAME = re.compile(r"[\w-][\w.-]*\.xml")
_LARGEST_MODEL = 2**26  # bytes


@dataclass(frozen=True)
class StateDemo:
    """One recording.

    actions  (T, A) float32
    states   (T, S) float64, before each action
    model    the simulated model as XML, or None
    extras   other arrays with one row a step (who was in control, ...)
    attrs    other attributes
    """

    name: str
    actions: Array
    states: Array
    model: str | None
    extras: dict[str, Array] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StateRecording:
    """What a file of states says as a whole.

    env_spec     the environment it names, or the one that the user names where it names none; None without either
    names        its demos in order
    filter_keys  name -> names of demos
    attrs        what it says about itself, besides the environment
    unread       arrays of the first demo that are not kept: name -> description
    """

    path: Path
    env_spec: str | None
    env_args: dict[str, Any]
    names: tuple[str, ...]
    filter_keys: dict[str, list[str]]
    attrs: dict[str, Any] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def robosuite_spec(self) -> str:
        """The environment to replay the states in.  InputError unless it is one of robosuite."""
        if self.env_spec is None:
            raise InputError(
                f"{self.path.name} does not name its environment ('data' has neither 'env_args' nor "
                "'env_info'). Name it with --env robosuite:NAME."
            )
        if not self.env_spec.startswith("robosuite:"):
            raise InputError(
                f"{self.path.name}: states can be replayed only in robosuite, not in {self.env_spec}. Name "
                "one of its environments with --env robosuite:NAME."
            )
        return self.env_spec


def is_raw(data: str | Path) -> bool:
    """Whether `data` is a file of states without observations, which `load` cannot read."""
    if split_plugin(data) is not None:
        return False
    path = resolve(data)
    if kind_of(path) != "hdf5":
        return False
    with open_file(path) as file:
        if "data" not in hdf5.children(file):
            return False
        group = hdf5.subgroup(file, "data")
        names = demo_names(group)
        keys = hdf5.children(first := hdf5.subgroup(group, names[0])) if names else []
        flat = "states" in keys and isinstance(hdf5.member(first, "states"), h5py.Dataset)
    return flat and "obs" not in keys


def open_recording(data: str | Path, env: str | None = None) -> StateRecording:
    """The file's demos and environment (`env` where it names none); InputError where it has no states."""
    path = resolve(data)
    with open_file(path) as file:
        group = hdf5.subgroup(file, "data")
        names = demo_names(group)
        if not names:
            raise InputError(f"{path.name} contains no demonstrations: its group 'data' has no demo_N.")
        first = hdf5.subgroup(group, names[0])
        if "states" not in hdf5.children(first):
            raise InputError(f"{names[0]}: there are no 'states' in {path.name}, from which to draw observations.")
        env_args = recorded_env_args(hdf5_attrs.attributes(group), path.name)
        filters = read_filters(file)
        attrs = file_attrs(group, path.name)
        unread = unread_arrays(first, next(iter(hdf5.describe(first, "states")[0]), 0))
    if not env_args and env is not None:
        env_args = record_as(env, {})
    spec = env_spec_of(env_args)
    return StateRecording(path, spec, env_args, tuple(names), filters, attrs, unread)


def read_state_demo(path: Path, name: str) -> StateDemo:
    """Demo `name` of a file that `open_recording` accepted."""
    with open_file(path) as file:
        demo = hdf5.subgroup(hdf5.subgroup(file, "data"), name)
        place = Place(name, path.name)
        members = hdf5.children(demo)
        for key in ("actions", "states"):
            if key not in members:
                raise place.error(f"there are no {key!r}")
        actions = as_actions(hdf5.read_array(demo, "actions"), place)
        states = np.asarray(hdf5.read_array(demo, "states"), np.float64)
        if states.ndim != 2 or not np.isfinite(states).all():
            raise place.error(f"'states' has shape {states.shape} or values that are not finite")
        check_rows("states", len(states), len(actions), place)
        attrs = demo_attrs(hdf5_attrs.attributes(demo), place)
        model = attrs.pop("model_file", None)
        extras = step_extras(demo, [key for key in members if key != "states"], len(actions))
        xml = _model_xml(model, path, place) if isinstance(model, str) else None
    return StateDemo(name, actions, states, xml, extras, attrs)


def _model_xml(model: str, path: Path, place: Place) -> str:
    """The model itself: robosuite 1.0 kept only the name of a file in the folder "models" beside the recording."""
    if not _MODEL_NAME.fullmatch(model.strip()):
        return model
    folder = (path.parent / "models").resolve()
    file = folder / model.strip()
    if not file.is_file() or file.resolve().parent != folder:  # a link may lead anywhere
        raise place.error(
            f"its model models/{model.strip()} is missing",
            "Put the recording's 'models' folder next to the file.",
        )
    size = file.stat().st_size
    if size > _LARGEST_MODEL:
        raise place.error(f"the model models/{model.strip()} has {size} bytes; expected up to {_LARGEST_MODEL}")
    return file.read_text(encoding="utf-8", errors="replace")


def recorded_env_args(attrs: Mapping[str, Any], file: str) -> dict[str, Any]:
    """robomimic's environment record, or the same made from robosuite's own attributes; {} where neither is there."""
    if "env_args" in attrs:
        place = f"attribute 'env_args' of 'data' in {file}"
        return check_record(hdf5_attrs.parse_json_object(attrs["env_args"], place), place)
    info: dict[str, Any] = {}
    if "env_info" in attrs:
        info = hdf5_attrs.parse_json_object(attrs["env_info"], f"attribute 'env_info' of 'data' in {file}")
    name = info.pop("env_name", None) or attrs.get("env")
    if not isinstance(name, str) or not name:
        return {}
    record: dict[str, Any] = {"env_name": name, "type": ENV_TYPE_ROBOSUITE, "env_kwargs": info}
    if attrs.get("repository_version"):
        record["env_version"] = str(attrs["repository_version"])
    return check_record(json.loads(json.dumps(record)), f"attribute 'env_info' of 'data' in {file}")


def choose_names(recording: StateRecording, filter_key: str | None) -> list[str]:
    """The demos of a filter key in the file's order; None: all."""
    if filter_key is None:
        return list(recording.names)
    if filter_key not in recording.filter_keys:
        known = ", ".join(recording.filter_keys) or "none"
        raise InputError(f"{recording.path.name}: no filter key {filter_key!r}; available: {known}.")
    wanted = set(recording.filter_keys[filter_key])
    chosen = [n for n in recording.names if n in wanted]
    if not chosen:
        raise InputError(f"{recording.path.name}: filter key {filter_key!r} selects no demonstrations.")
    return chosen


def read_raw(data: str | Path, filter_key: str | None = None, env: str | None = None) -> Demonstrations:
    """Actions and states of every demo as episodes without observations or rewards: enough to play them back."""
    recording = open_recording(data, env)
    demos = (read_state_demo(recording.path, name) for name in choose_names(recording, filter_key))
    episodes = tuple(
        Episode(
            name=demo.name,
            obs={},
            final_obs=None,
            actions=demo.actions,
            rewards=np.zeros(len(demo.actions), np.float32),
            terminated=False,
            truncated=True,
            extras={"states": demo.states, **demo.extras},
            attrs={**demo.attrs, "rewards_missing": True, **({} if demo.model is None else {"model_file": demo.model})},
        )
        for demo in demos
    )
    return Demonstrations(episodes, str(data), "robomimic", recording.env_spec, recording.env_args, recording.attrs)
