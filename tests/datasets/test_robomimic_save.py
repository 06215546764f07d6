"""What is written as robomimic HDF5 is read back unchanged, here and by robomimic itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from dtql_robot.datasets import load, save_robomimic
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import assert_same_episode, assert_same_source, demonstrations, make_demos, make_episode


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(demos=demonstrations())
def test_round_trip(tmp_path: Path, demos: Demonstrations) -> None:
    path = save_robomimic(demos, tmp_path / "f.hdf5", overwrite=True)
    again = load(path, obs_keys=list(demos.obs_shapes))
    assert_same_source(demos, again)
    assert [e.name for e in again.episodes] == [f"demo_{i}" for i in range(len(demos))]
    for before, after in zip(demos.episodes, again.episodes, strict=True):
        assert_same_episode(before, after)


def test_masks_and_large_model_file(tmp_path: Path) -> None:
    demos = make_demos(attrs={"model_file": "<mujoco/>" * 20_000, "camera": {"fov": [45, 60]}})
    path = save_robomimic(demos, tmp_path / "f.hdf5", masks={"train": [0, 11], "valid": [3]})
    assert [e.name for e in load(path, filter_key="train").episodes] == ["demo_0", "demo_11"]
    assert_same_episode(load(path, filter_key="valid").episodes[0], demos.episodes[3])
    with h5py.File(path) as file:
        assert file["data/demo_0"].attrs["model_file"] == "<mujoco/>" * 20_000


def test_attributes_are_where_others_look_for_them(tmp_path: Path) -> None:
    attrs = {"ep_meta": '{"lang": "open"}', "seed": 3, "odd": "\ud800", "list": [1, 2], "big": 2**70, "no": None}
    demos = replace(make_demos(1, attrs=attrs), attrs={"bddl_file_name": "x.bddl", "problem_info": {"a": 1}})
    path = save_robomimic(demos, tmp_path / "f.hdf5")
    with h5py.File(path) as file:
        assert file["data"].attrs["bddl_file_name"] == "x.bddl"
        assert file["data/demo_0"].attrs["ep_meta"] == attrs["ep_meta"]
        assert file["data/demo_0"].attrs["seed"] == 3
        assert not {"odd", "list", "big", "no"} & set(file["data/demo_0"].attrs)
    again = load(path)
    assert again.episodes[0].attrs == attrs
    assert again.attrs == demos.attrs


@pytest.mark.slow
def test_the_same_demonstrations_are_the_same_bytes(tmp_path: Path) -> None:
    """In processes whose sets are ordered differently."""
    script = (
        "import sys; from dtql_robot.datasets import save_robomimic; from tests.helpers.sample_demos import *\n"
        "episodes = make_demos(attrs={name: 1 for name in ('seed', 'noise', 'lapse', 'origin', 'camera')})\n"
        "save_robomimic(episodes, sys.argv[1])"
    )
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / seed)], check=True, env=environment)
    assert len({(tmp_path / seed).read_bytes() for seed in ("1", "2", "3")}) == 1


def test_environment_record_is_kept_or_made(tmp_path: Path) -> None:
    args = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20}, "env_version": "1.4.1"}
    kept = save_robomimic(replace(make_demos(1), env_args=args), tmp_path / "a.hdf5")
    assert load(kept).env_args == args
    minari_record = {"id": "FetchPush-v4", "kwargs": {"reward_type": "sparse"}}
    made = replace(make_demos(1), env_spec="FetchPush-v4", env_args=minari_record)
    with h5py.File(save_robomimic(made, tmp_path / "b.hdf5")) as file:
        record = json.loads(file["data"].attrs["env_args"])
        assert file["data"].attrs["total"] == 5
    assert record == {"env_name": "FetchPush-v4", "type": 2, "env_kwargs": {"reward_type": "sparse"}}
    gymnasiums = {**minari_record, "entry_point": "a:B", "max_episode_steps": 70}
    with h5py.File(save_robomimic(replace(made, env_args=gymnasiums), tmp_path / "c.hdf5")) as file:
        record = json.loads(file["data"].attrs["env_args"])
    assert record["env_kwargs"] == {"reward_type": "sparse", "max_episode_steps": 70}
    assert record["env_spec"] == gymnasiums


def test_refuses_to_overwrite(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(1), tmp_path / "deep" / "f.hdf5")
    with pytest.raises(InputError, match="exists already"):
        save_robomimic(make_demos(2), path)
    assert len(load(path)) == 1
    save_robomimic(make_demos(2), path, overwrite=True)
    assert len(load(path)) == 2
    with pytest.raises(InputError, match="is a folder"):
        save_robomimic(make_demos(1), tmp_path, overwrite=True)


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"actions": np.full((5, 2), np.nan, np.float32)}, "'actions' is nan at"),
    ({"rewards": np.zeros(4, np.float32)}, "'rewards' has 4"),
    ({"obs": {}}, "no observations"),
    ({"obs": {"x": np.zeros((3, 2))}}, "'x' has 3"),
    ({"final_obs": {"robot": np.zeros(9)}}, "final_obs is"),
    ({"success": np.zeros(2, bool)}, "'success' has 2"),
    ({"extras": {"s": np.zeros(3)}}, "'s' has 3"),
    ({"extras": {"s": np.array(["a"] * 5)}}, "'s' has dtype"),
    ({"extras": {"obs/robot": np.zeros(5)}}, "the name is taken"),
    ({"extras": {"s": np.zeros(5), "s/t": np.zeros(5)}}, "'s/t' cannot be an array's name"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_FIELDS)
def test_malformed_episodes_leave_nothing_behind(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    episode = make_episode(np.random.default_rng(0), "demo_0", 5)
    demos = Demonstrations((episode, replace(episode, **changes)), "made", "robomimic")
    with pytest.raises(InputError, match=message):
        save_robomimic(demos, tmp_path / "f.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_bad_masks_and_no_episodes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'train' names episode 5"):
        save_robomimic(make_demos(2), tmp_path / "f.hdf5", masks={"train": [5]})
    with pytest.raises(InputError, match="contains no episodes"):
        save_robomimic(Demonstrations((), "made", "robomimic"), tmp_path / "f.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_robomimic_reads_the_file(tmp_path: Path) -> None:
    pytest.importorskip("robomimic", reason='needs pip install "dtql-robot[robomimic]"')
    from robomimic.utils.dataset import SequenceDataset
    from robomimic.utils.obs_utils import initialize_obs_utils_with_obs_specs

    rng = np.random.default_rng(0)
    shape = {"robot": 4, "cube": 3}
    episodes = tuple(
        make_episode(
            rng,
            f"demo_{i}",
            6 + i,
            obs={k: rng.normal(size=(6 + i, n)).astype(np.float32) for k, n in shape.items()},
            final_obs={k: rng.normal(size=n).astype(np.float32) for k, n in shape.items()},
        )
        for i in range(11)
    )
    demos = Demonstrations(episodes, "made", "robomimic", "FetchPush-v4")
    path = save_robomimic(demos, tmp_path / "f.hdf5", masks={"train": range(5)})
    initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(shape)}})
    keys = ("actions", "rewards", "dones")
    common: dict[str, Any] = {"obs_keys": tuple(shape), "dataset_keys": keys, "hdf5_cache_mode": None}
    dataset = SequenceDataset(str(path), **common)
    assert len(dataset) == demos.num_transitions
    assert len(SequenceDataset(str(path), filter_by_attribute="train", **common)) == sum(map(len, episodes[:5]))
    for index, episode in enumerate(episodes):
        trajectory = dataset.get_trajectory_at_index(index)
        np.testing.assert_array_equal(trajectory["actions"], episode.actions)
        np.testing.assert_array_equal(trajectory["rewards"], episode.rewards)
        np.testing.assert_array_equal(trajectory["dones"], np.eye(len(episode))[-1])
        for key in shape:
            np.testing.assert_array_equal(trajectory["obs"][key], episode.obs[key])
            np.testing.assert_array_equal(trajectory["next_obs"][key][:-1], episode.obs[key][1:])
            assert episode.final_obs is not None
            np.testing.assert_array_equal(trajectory["next_obs"][key][-1], episode.final_obs[key])
