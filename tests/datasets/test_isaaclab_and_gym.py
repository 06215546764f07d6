"""Isaac Lab's recordings as its HDF5DatasetFileHandler writes them, and robomimic's layout of Gym data (obs/flat)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import inspect, load
from dtql_robot.errors import InputError


def write_isaaclab(path: Path, *, obs: bool = True, env: str = "Isaac-Stack-Cube-Franka-IK-Rel-v0") -> Path:
    """Groups inside groups, gzip, attributes of NumPy's types, `total` counted up, format_version of the file."""
    with h5py.File(path, "w") as file:
        file.attrs["format_version"] = 1
        data = file.create_group("data")
        data.attrs["total"] = 0
        data.attrs["env_args"] = json.dumps({"env_name": env, "type": 2})
        for i in range(3):
            rng, steps = np.random.default_rng(i), 5 + i
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"], demo.attrs["seed"], demo.attrs["success"] = steps, i, np.bool_(i != 1)
            data.attrs["total"] += steps
            arrays: dict[str, Any] = {
                "actions": rng.uniform(-1, 1, (steps, 7)),
                "processed_actions": rng.uniform(-1, 1, (steps, 8)),
                "initial_state/articulation/robot/joint_position": rng.normal(size=(1, 9)),
                "states/articulation/robot/joint_position": rng.normal(size=(steps, 9)),
                "states/rigid_object/cube_1/root_pose": rng.normal(size=(steps, 7)),
            }
            if obs:
                arrays |= {
                    "obs/eef_pos": rng.normal(size=(steps, 3)),
                    "obs/policy/joint_pos": rng.normal(size=(steps, 9)),
                    "obs/policy/gripper": rng.normal(size=(steps, 1)),
                    "obs/datagen_info/target_eef_pose/franka": rng.normal(size=(steps, 4, 4)),
                }
            for key, value in arrays.items():
                demo.create_dataset(key, data=value.astype(np.float32), compression="gzip")
    return path


def test_isaaclab(tmp_path: Path) -> None:
    path = write_isaaclab(tmp_path / "a.hdf5")
    demos = load(path)
    with h5py.File(path) as file:
        for i, episode in enumerate(demos.episodes):
            stored = file[f"data/demo_{i}"]
            assert set(episode.obs) == {"eef_pos", "policy/joint_pos", "policy/gripper"}
            for key, value in episode.obs.items():
                np.testing.assert_array_equal(value, stored[f"obs/{key}"][()])
            for key in ("processed_actions", "states/articulation/robot/joint_position"):
                np.testing.assert_array_equal(episode.extras[key], stored[key][()])
            assert episode.ends_in_success is (i != 1)
            assert (episode.terminated, episode.truncated) == (i != 1, i == 1)
            assert episode.attrs["seed"] == i
    assert demos.env_spec == "Isaac-Stack-Cube-Franka-IK-Rel-v0"
    summary = inspect(path)
    assert summary["unread"] == {"initial_state/articulation/robot/joint_position": "float32 (1, 9)"}
    assert "datagen_info/target_eef_pose/franka" in summary["left_out"]


def test_isaaclab_without_a_name_or_observations(tmp_path: Path) -> None:
    assert load(write_isaaclab(tmp_path / "a.hdf5", env="")).env_spec is None
    bare = write_isaaclab(tmp_path / "b.hdf5", obs=False)
    with pytest.raises(InputError, match="Isaac Lab recording without observations"):
        load(bare)
    assert main(["inspect", str(bare)]) == 2


def write_gym(path: Path, record: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(record)
        for i in range(2):
            rng = np.random.default_rng(i)
            demo = data.create_group(f"demo_{i}")
            flat = rng.normal(size=(6, 11)).astype(np.float32)
            demo["obs/flat"], demo["next_obs/flat"] = flat[:5], flat[1:]
            demo["actions"], demo["rewards"] = rng.uniform(-1, 1, (5, 3)), rng.normal(size=5)
            demo["dones"] = np.zeros(5)
    return path


@pytest.mark.parametrize("asked", [None, ["observation"], ("observation",), ["flat"]])
def test_gyms_flat_observation_has_the_environments_name(tmp_path: Path, asked: Any) -> None:
    path = write_gym(tmp_path / "a.hdf5", {"env_name": "Hopper-v2", "type": 2, "env_kwargs": {}})
    demos = load(path, obs_keys=asked)
    assert demos.obs_shapes == {"observation": (11,)}
    for episode in demos.episodes:
        assert episode.final_obs is not None
        assert episode.final_obs["observation"].shape == (11,)


def test_a_robosuite_file_keeps_its_own_flat(tmp_path: Path) -> None:
    path = write_gym(tmp_path / "a.hdf5", {"env_name": "Lift", "type": 1, "env_kwargs": {}})
    assert load(path).obs_shapes == {"flat": (11,)}
