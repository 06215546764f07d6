"""A record of an environment that cannot be right is one sentence, where it is read."""

import json
import math
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.env_record import (
    MAX_STEPS,
    check_record,
    env_kwargs,
    env_spec_of,
    record_as,
    recorded_kwargs,
    with_time_limit,
)
from dtql_robot.errors import InputError
from dtql_robot.run_folder import read_config

GYM = {"env_name": "FetchReach-v4", "type": 2}
LIFT = {"env_name": "Lift", "type": 1}


def with_kwargs(base, **kwargs):
    return {**base, "env_kwargs": kwargs}


WRONG = {
    "limit-text": with_kwargs(GYM, max_episode_steps="abc"),
    "limit-number-as-text": with_kwargs(GYM, max_episode_steps="50"),
    "limit-nan": with_kwargs(GYM, max_episode_steps=math.nan),
    "limit-infinite": with_kwargs(GYM, max_episode_steps=math.inf),
    "limit-negative": with_kwargs(GYM, max_episode_steps=-5),
    "limit-zero": with_kwargs(GYM, max_episode_steps=0),
    "limit-huge": with_kwargs(GYM, max_episode_steps=1e30),
    "limit-one-too-many": with_kwargs(GYM, max_episode_steps=MAX_STEPS + 1),
    "limit-fraction": with_kwargs(GYM, max_episode_steps=7.5),
    "limit-list": with_kwargs(GYM, max_episode_steps=[50]),
    "limit-true": with_kwargs(GYM, max_episode_steps=True),
    "limit-of-gymnasium": {"id": "A-v0", "entry_point": "a:b", "kwargs": {}, "max_episode_steps": -1},
    "kwargs-list": {**GYM, "env_kwargs": [1, 2]},
    "kwargs-text": {**GYM, "env_kwargs": "abc"},
    "kwargs-number": {**LIFT, "env_kwargs": 3},
    "gymnasium-kwargs-list": {"id": "A-v0", "entry_point": "a:b", "kwargs": [1]},
    "frequency-zero": with_kwargs(LIFT, control_freq=0),
    "frequency-negative": with_kwargs(LIFT, control_freq=-20),
    "frequency-text": with_kwargs(LIFT, control_freq="20"),
    "frequency-infinite": with_kwargs(LIFT, control_freq=math.inf),
    "controller-path": with_kwargs(LIFT, controller_configs="/etc/passwd"),
    "controller-number": with_kwargs(LIFT, controller_configs=[1]),
    "robots-number": with_kwargs(LIFT, robots=[1]),
    "cameras-number": with_kwargs(LIFT, camera_names=3),
    "camera-sizes": with_kwargs(LIFT, camera_names=["a", "b"], camera_heights=[84]),
    "camera-size-text": with_kwargs(LIFT, camera_names="a", camera_heights="84"),
    "camera-size-zero": with_kwargs(LIFT, camera_names="a", camera_widths=0),
    "nan-anywhere": with_kwargs(GYM, weights=[{"a": [1.0, math.nan]}]),
    "name-number": {**GYM, "env_name": 5},
    "name-list": {**GYM, "env_name": ["FetchReach-v4"]},
    "type-list": {**GYM, "type": [2]},
    "version-list": {**GYM, "env_version": [1, 4]},
    "spec-number": {**GYM, "dtql_robot_env_spec": 7},
    "views-list": {**GYM, "camera_views": [1]},
    "view-number": {**GYM, "camera_views": {"front": 1}},
    "evaluation-text": {**GYM, "eval_env_spec": "x"},
    "evaluation-limit": {**GYM, "eval_env_spec": {"id": "A-v0", "kwargs": {}, "max_episode_steps": "x"}},
    "deep": with_kwargs(GYM, a=json.loads("[" * 300 + "]" * 300)),
}


@pytest.mark.parametrize("record", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_right_is_one_sentence(record):
    with pytest.raises(InputError, match=r"env_args of x\.hdf5"):
        check_record(record, "env_args of x.hdf5")


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"env_name": "", "type": 2, "env_kwargs": {}},
        {"env_name": "Lift", "type": 1, "env_version": None, "env_kwargs": None},
        with_kwargs(GYM, max_episode_steps=50.0),
        with_kwargs(GYM, max_episode_steps=None),
        with_kwargs(LIFT, robots="Panda", camera_names=["a"], camera_heights=84, camera_widths=[84], control_freq=20),
        with_kwargs(LIFT, robots=["Panda", "Panda"], controller_configs=[{"type": "OSC_POSE"}, None]),
        {"id": "Point-v3", "entry_point": "a:B", "kwargs": {"maze": [[0, 1]]}, "max_episode_steps": 1_000_000},
    ],
)
def test_what_can_be_right_passes_unchanged(record):
    assert check_record(record, "x") == record


def test_an_infinite_bound_becomes_one_that_json_can_write():
    found = check_record(with_kwargs(GYM, healthy_z_range=[-math.inf, math.inf]), "x")
    assert found["env_kwargs"]["healthy_z_range"] == [-sys.float_info.max, sys.float_info.max]
    json.dumps(found, allow_nan=False)


def write(path: Path, env_args: dict) -> str:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(env_args)
        for i in range(3):
            data[f"demo_{i}/actions"] = np.random.default_rng(i).uniform(-1, 1, (6, 4)).astype(np.float32)
            for key, size in (("observation", 10), ("achieved_goal", 3), ("desired_goal", 3)):
                for group in ("obs", "next_obs"):
                    data[f"demo_{i}/{group}/{key}"] = np.random.default_rng(i).normal(size=(6, size)).astype("f4")
            data[f"demo_{i}/rewards"] = np.eye(6, dtype="f4")[-1]
            data[f"demo_{i}/dones"] = np.eye(6, dtype=int)[-1]
            data[f"demo_{i}"].attrs["seed"] = i
    return str(path)


@pytest.mark.parametrize("name", ["limit-text", "limit-huge", "kwargs-list", "controller-path"])
@pytest.mark.parametrize("command", ["inspect", "validate", "playback"])
def test_commands_end_with_2(name, command, tmp_path, capsys):
    assert main([command, write(tmp_path / "bad.hdf5", WRONG[name])]) == 2
    text = "".join(capsys.readouterr())
    assert "env_args" in text
    assert "bad.hdf5" in text


@pytest.mark.parametrize("command", ["validate", "playback", "train"])
@pytest.mark.parametrize("kind", ["name", "argument", "recipe"])
def test_no_command_imports_what_a_file_names(command, kind, tmp_path, capsys, monkeypatch):
    """A module of that name lies where Python would find it; importing it would leave a mark."""
    mark = tmp_path / "executed"
    (tmp_path / "stranger_module.py").write_text(f"open({str(mark)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    named = {
        "name": {"env_name": "stranger_module:X-v0", "type": 2},
        "argument": {"env_name": "FetchReach-v4", "type": 2, "env_kwargs": {"reward_type": "stranger_module:X-v0"}},
        "recipe": {**GYM, "dtql_robot_env_spec": "stranger_module:X-v0+state=observation"},
    }
    path = write(tmp_path / "s.hdf5", named[kind])
    train = ["train", "--data", path, "--out", str(tmp_path / "run"), "--steps", "1", "--threads", "1"]
    code = main(train if command == "train" else [command, path])
    text = "".join(capsys.readouterr())
    assert "only an --env that you type may import a module" in text
    assert "pip install" not in text
    assert not mark.exists()
    assert code == (2 if command == "playback" else 0)


@pytest.mark.parametrize(
    ("record", "env", "kept"),
    [
        (with_kwargs(GYM, reward_type="sparse"), None, {"reward_type": "sparse"}),
        (with_kwargs(GYM, reward_type="sparse", max_episode_steps=7), "FetchReach-v4", {"reward_type": "sparse"}),
        ({"env_name": "FetchPush-v4", "type": 2, "env_kwargs": {"reward_type": "dense"}}, "FetchReach-v4", {}),
    ],
)
@pytest.mark.slow
def test_a_time_limit_given_to_train_goes_along(record, env, kept, tmp_path, capsys):
    path, run = write(tmp_path / "a.hdf5", record), tmp_path / "run"
    words = ["train", "--data", path, "--out", str(run), "--threads", "1", "--batch-size", "8"]
    asked = [] if env is None else ["--env", env]
    assert main([*words, "--steps", "1", "--max-episode-steps", "30", *asked]) == 0
    assert ("is not used (reward_type)" in capsys.readouterr().out) == (kept == {})
    assert main(["train", "--out", str(run), "--resume", "--steps", "2", "--threads", "1"]) == 0
    saved = read_config(run)
    assert saved["env"] == "FetchReach-v4"
    assert recorded_kwargs(saved["env_args"]) == (kept, 30)
    assert main([*words, "--max-episode-steps", "0"]) == 2


def test_reading_a_record_of_each_layout():
    robomimic = with_kwargs(LIFT, control_freq=10, camera_names=["a"], max_episode_steps=9.0)
    assert recorded_kwargs(robomimic) == ({"control_freq": 10}, 9)
    gymnasium = {"id": "A-v0", "entry_point": "a:b", "kwargs": {"x": 1}, "max_episode_steps": 7}
    assert recorded_kwargs(gymnasium) == ({"x": 1}, 7)
    assert recorded_kwargs({"x": 1, "max_episode_steps": 5, "camera_views": {}}) == ({"x": 1}, 5)
    assert recorded_kwargs(GYM) == ({}, None)
    assert env_kwargs(gymnasium) == {"x": 1}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"x": 1},
        GYM,
        with_kwargs(GYM, max_episode_steps=9, x=1),
        {"id": "A-v0", "entry_point": "a:b", "kwargs": {"x": 1}, "max_episode_steps": 7},
        {"id": "A-v0", "kwargs": {"x": 1}},
    ],
)
def test_another_time_limit_in_every_layout(record):
    kwargs, _ = recorded_kwargs(record)
    assert recorded_kwargs(with_time_limit(record, 500)) == (kwargs, 500)
    assert env_spec_of(with_time_limit(record, 500)) == env_spec_of(record)


@pytest.mark.parametrize(
    ("record", "spec"),
    [
        (LIFT, "robosuite:Lift"),
        ({"env_name": "Lift", "env_kwargs": {"robots": ["Panda"]}}, "robosuite:Lift"),
        ({"env_name": "robosuite:Lift", "type": 1}, "robosuite:Lift"),
        ({"env_name": "FetchPush-v2"}, "FetchPush-v2"),
        ({"env_name": "Lift"}, None),
        ({"id": "A-v0", "entry_point": "a:b"}, "A-v0"),
        ({**LIFT, "dtql_robot_env_spec": "robosuite:Lift+a=b"}, "robosuite:Lift+a=b"),
        ({}, None),
    ],
)
def test_the_environment_that_a_record_names(record, spec):
    assert env_spec_of(record) == spec


@pytest.mark.parametrize("spec", ["robosuite:Lift", "robosuite:Lift+state=object", "FetchPush-v4", "FetchPush-v4+s=a"])
def test_a_record_under_another_name_loses_nothing(spec):
    old = {"env_name": "X", "type": 3, "env_version": "1.4.1", "env_kwargs": {"control_freq": 10}, "camera_views": {}}
    made = record_as(spec, old)
    assert env_spec_of(made) == spec
    assert (made["env_version"], made["env_kwargs"]) == ("1.4.1", {"control_freq": 10})
    assert record_as(spec, made) == made
    gymnasium = {"id": "A-v0", "entry_point": "a:b", "kwargs": {"x": 1}, "max_episode_steps": 7}
    assert record_as(spec, gymnasium)["env_kwargs"] == {"x": 1, "max_episode_steps": 7}
    assert record_as(spec, gymnasium)["env_spec"] == gymnasium
