"""Layouts of the field that share robomimic's or Minari's shape: keys are discovered, not assumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces

from dtql_robot.datasets import format_summary, inspect, load, save_minari
from dtql_robot.datasets.validation.validate import validate
from dtql_robot.errors import InputError
from tests.helpers.sample_demos import make_demos

T = 6


def env_args(name: str, **more: Any) -> str:
    return json.dumps({"env_name": name, "type": 1, "env_kwargs": {}} | more)


def test_libero(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "libero.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = env_args("Libero_Tabletop_Manipulation", env_version="1.4.0")
        data.attrs["bddl_file_name"], data.attrs["problem_info"] = "x.bddl", '{"language_instruction": "open"}'
        for i in range(3):
            demo = data.create_group(f"demo_{i}")
            demo["obs/agentview_rgb"] = np.zeros((T, 128, 128, 3), np.uint8)
            demo["obs/ee_states"], demo["obs/gripper_states"] = np.ones((T, 6)) * i, np.ones((T, 2))
            demo["robot_states"], demo["states"] = np.ones((T, 9)), np.ones((T, 79))
            demo["actions"], demo["rewards"] = np.ones((T, 7)) * i / 5, np.eye(T, dtype=np.uint8)[-1]
            demo["dones"] = np.eye(T, dtype=np.uint8)[-1]
    demos = load(tmp_path / "libero.hdf5")
    assert demos.obs_shapes == {"ee_states": (6,), "gripper_states": (2,)}
    assert sorted(demos.episodes[0].extras) == ["robot_states", "states"]
    assert all(e.ends_in_success and e.terminated for e in demos.episodes)
    assert inspect(tmp_path / "libero.hdf5")["left_out"] == {"agentview_rgb": "uint8 (128, 128, 3)"}
    assert not validate(tmp_path / "libero.hdf5").errors
    assert demos.attrs == {"bddl_file_name": "x.bddl", "problem_info": '{"language_instruction": "open"}'}
    assert load(save_minari(demos, tmp_path / "libero-v0")).attrs == demos.attrs


def test_mimicgen_and_robocasa(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = env_args("Stack_D0", env_version="1.4.1")
        for i in range(2):
            demo = data.create_group(f"demo_{i}")
            demo.attrs["ep_meta"] = '{"lang": "stack the cubes", "layout_id": 3}'
            demo["obs/robot0_eef_pos"], demo["obs/object"] = np.ones((T, 3)) * i, np.ones((T, 23))
            demo["obs/lang"] = np.array([b"stack"] * T)
            demo["datagen_info/eef_pose"] = np.ones((T, 4, 4))
            demo["datagen_info/object_poses/cube"] = np.ones((T, 4, 4))
            demo["src_demo_inds"] = np.arange(3)
            demo["actions"], demo["states"] = np.ones((T, 7)) * i / 5, np.ones((T, 45))
        file["mask/10_percent"] = np.array([b"demo_1"])
    demos = load(tmp_path / "f.hdf5", filter_key="10_percent")
    assert demos.obs_shapes == {"object": (23,), "robot0_eef_pos": (3,)}
    assert sorted(demos.episodes[0].extras) == ["datagen_info/eef_pose", "datagen_info/object_poses/cube", "states"]
    assert "stack the cubes" in demos.episodes[0].attrs["ep_meta"]
    assert "lang" in inspect(tmp_path / "f.hdf5")["left_out"]
    assert demos.episodes[0].attrs["rewards_missing"] is True
    summary = inspect(tmp_path / "f.hdf5")
    assert summary["unread"] == {"src_demo_inds": "int64 (3,)"}
    assert summary["return"] is None
    assert "return       not recorded" in format_summary(summary)
    assert "not kept     src_demo_inds: int64 (3,)" in format_summary(summary)


def test_robosuite_info_of_old_collections(tmp_path: Path) -> None:
    from dtql_robot.datasets.formats.robosuite_recording import open_recording, read_raw

    with h5py.File(tmp_path / "demo.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env"], data.attrs["env_info"] = "Lift", '{"robots": "Panda", "env_name": "Lift"}'
        data.attrs["repository_version"] = "1.4.0"
        data["demo_2/states"], data["demo_2/actions"] = np.ones((T, 32)), np.ones((T, 7))
        data["demo_10/states"], data["demo_10/actions"] = np.ones((T, 32)), np.ones((T, 7))
        data["demo_10/user_acting"], data["demo_2/clock"] = np.ones((T, 2), bool), np.ones(3)
        data["demo_10"].attrs["operator"], data.attrs["date"] = "A", "today"
    recording = open_recording(tmp_path / "demo.hdf5")
    assert recording.names == ("demo_2", "demo_10")
    assert recording.env_args == {
        "env_name": "Lift",
        "type": 1,
        "env_kwargs": {"robots": "Panda"},
        "env_version": "1.4.0",
    }
    demos = read_raw(tmp_path / "demo.hdf5")
    assert demos.episodes[1].extras["states"].dtype == np.float64
    assert demos.episodes[1].extras["user_acting"].all()
    assert demos.episodes[1].attrs == {"operator": "A", "rewards_missing": True}
    assert demos.attrs["date"] == "today"
    assert recording.unread == {"clock": "float64 (3,)"}
    with h5py.File(tmp_path / "demo.hdf5", "a") as file:
        del file["data"].attrs["env"], file["data"].attrs["env_info"]
    with pytest.raises(InputError, match="does not name its environment"):
        _ = open_recording(tmp_path / "demo.hdf5").robosuite_spec
    assert open_recording(tmp_path / "demo.hdf5", "robosuite:Door").robosuite_spec == "robosuite:Door"
    with pytest.raises(InputError, match="replayed only in robosuite, not in FetchPush-v4"):
        _ = open_recording(tmp_path / "demo.hdf5", "FetchPush-v4").robosuite_spec


@pytest.mark.slow
def test_kitchen_success_from_its_nested_goals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded in the environment itself, whose own verdict after each step is the reference."""
    pytest.importorskip("gymnasium_robotics")
    from minari.data_collector import EpisodeBuffer

    from dtql_robot.envs import make_env

    tasks = ["microwave", "kettle"]
    env = make_env("FrankaKitchen-v1", env_args={"tasks_to_complete": tasks}, max_episode_steps=9)
    sim: Any = env.unwrapped
    _, _ = env.reset(seed=0)
    observations, verdicts = [sim._get_obs(sim.robot_env._get_obs())], []
    for step in range(6):
        if step == 2:  # open the microwave, then shut it again; then lift the kettle to its place
            sim.data.qpos[22] = -0.75
        if step == 3:
            sim.data.qpos[22] = 0.0
        if step == 4:
            sim.data.qpos[23:30] = [-0.23, 0.75, 1.62, 0.99, 0.0, 0.0, -0.06]
        *_, info = env.step(np.zeros(9, np.float32))
        verdicts.append(bool(info["success"]))
        observations.append(sim._get_obs(sim.robot_env._get_obs()))
    env.close()
    assert verdicts[0] is False
    assert verdicts[-1] is True

    def stack(items: list[Any]) -> Any:
        return {k: stack([i[k] for i in items]) for k in items[0]} if isinstance(items[0], dict) else np.stack(items)

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    flags = np.zeros(6, bool)
    buffer = EpisodeBuffer(
        observations=stack(observations),
        actions=np.zeros((6, 9)),
        rewards=np.zeros(6),
        terminations=flags,
        truncations=flags,
        infos={"qpos": np.zeros((7, 2))},
    )
    with pytest.warns(UserWarning, match="is set to None"):
        minari.create_dataset_from_buffers(
            "kitchen/made-v0", [buffer], env="FrankaKitchen-v1", action_space=spaces.Box(-1, 1, (9,))
        )
    demos = load("minari:kitchen/made-v0", obs_keys=["observation"])
    assert demos.obs_shapes == {"observation": (59,)}
    assert demos.episodes[0].success is not None
    assert demos.episodes[0].success.tolist() == verdicts
    assert any("read from the goals" in n for n in inspect("minari:kitchen/made-v0")["notes"])
    assert {"achieved_goal/kettle", "desired_goal/microwave"} < set(load("minari:kitchen/made-v0").obs_shapes)


def test_minari_without_jpeg_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minari 0.5.3, the newest on Python 3.10: its storage takes no jpeg_encoding."""
    from minari.dataset.minari_storage import MinariStorage

    new = MinariStorage.new

    def older(
        data_path: Any, observation_space: Any, action_space: Any, env_spec: Any = None, data_format: str = "hdf5"
    ) -> Any:
        return new(data_path, observation_space, action_space, env_spec=env_spec, data_format=data_format)

    monkeypatch.setattr(MinariStorage, "new", staticmethod(older))
    demos = make_demos(2)
    assert len(load(save_minari(demos, tmp_path / "a-v0"))) == 2
    images = tuple(
        replace(e, obs={"front": np.zeros((len(e), 8, 8, 3), np.uint8)}, final_obs=None) for e in demos.episodes
    )
    with pytest.raises(InputError, match="lossy JPEG only"):
        save_minari(replace(demos, episodes=images), tmp_path / "b-v0")
