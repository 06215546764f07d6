"""Minari datasets: those of the package itself are read, ours are read by the package."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from minari.data_collector import EpisodeBuffer

from dtql_robot.datasets import inspect, load, save_minari
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import assert_same_episode, assert_same_source, demonstrations, make_demos

T = 5


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(demos=demonstrations())
@pytest.mark.slow
def test_round_trip(tmp_path: Path, demos: Demonstrations) -> None:
    path = save_minari(demos, tmp_path / "made-v0", overwrite=True)
    again = load(path, obs_keys=list(demos.obs_shapes))
    assert again.format == "minari"
    assert_same_source(demos, again)
    assert [e.name for e in again.episodes] == [f"episode_{i}" for i in range(len(demos))]
    for before, after in zip(demos.episodes, again.episodes, strict=True):
        assert_same_episode(before, after)


def test_the_minari_package_opens_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    demos = replace(make_demos(attrs={"seed": 7}), env_spec="NotRegistered-v0")
    path = save_minari(demos, tmp_path / "made" / "push-v0")
    dataset = minari.load_dataset("made/push-v0")
    assert list(minari.list_local_datasets()) == ["made/push-v0"]
    assert minari.MinariDataset(path / "data").total_steps == demos.num_transitions == dataset.total_steps
    assert dataset.total_episodes == 12
    for expected, found in zip(demos.episodes, dataset.iterate_episodes(), strict=True):
        assert expected.final_obs is not None
        assert expected.success is not None
        np.testing.assert_array_equal(found.observations["robot"][:-1], expected.obs["robot"])
        np.testing.assert_array_equal(found.observations["robot"][-1], expected.final_obs["robot"])
        np.testing.assert_array_equal(found.observations["object"]["pose"][:-1], expected.obs["object/pose"])
        np.testing.assert_array_equal(found.actions, expected.actions)
        np.testing.assert_array_equal(found.rewards, expected.rewards)
        np.testing.assert_array_equal(found.terminations, expected.success)
        assert not found.truncations.any()
        np.testing.assert_array_equal(found.infos["success"], [False, *expected.success])
    assert next(iter(dataset.storage.get_episode_metadata([3])))["seed"] == 7
    again = load("minari:made/push-v0")
    assert again.source == "minari:made/push-v0"
    assert again.env_spec == "NotRegistered-v0"
    assert_same_episode(again.episodes[3], demos.episodes[3])


def test_registered_environment_can_be_recovered(tmp_path: Path) -> None:
    demos = replace(make_demos(1), env_spec="CartPole-v1", env_args={})
    dataset = minari.MinariDataset(save_minari(demos, tmp_path / "cart-v3") / "data")
    assert dataset.spec.dataset_id == "cart-v3"
    assert dataset.recover_environment().spec.id == "CartPole-v1"
    again = load(tmp_path / "cart-v3")
    assert (again.env_spec, again.env_args["id"]) == ("CartPole-v1", "CartPole-v1")
    record = {**again.env_args, "max_episode_steps": 77}
    pytest.importorskip("gymnasium_robotics")
    args = {"env_name": "FetchPush-v4", "type": 2, "env_kwargs": {"reward_type": "dense", "max_episode_steps": 70}}
    fetch = replace(demos, env_spec="FetchPush-v4", env_args=args)
    env = minari.MinariDataset(save_minari(fetch, tmp_path / "fetch-v0") / "data").recover_environment()
    assert env.spec.id == "FetchPush-v4"
    assert (env.spec.max_episode_steps, env.unwrapped.reward_type) == (70, "dense")
    env.close()
    verbatim = save_minari(replace(demos, env_args=record), tmp_path / "cart-v4")
    assert load(verbatim).env_args["max_episode_steps"] == 77


def make_with_minari(
    root: Path, monkeypatch: pytest.MonkeyPatch, obs: Any, space: Any, infos: Any, **options: Any
) -> Path:
    """Two episodes of T steps written by the package's own function; the second one is cut off without a flag."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    flags = [np.zeros(T, bool), np.eye(T, dtype=bool)[-1], np.zeros(T, bool)]
    buffers = [
        EpisodeBuffer(
            observations=obs,
            actions=np.ones((T, 2)),
            rewards=np.arange(T, dtype=float),
            terminations=flags[i],
            truncations=flags[2 * i],
            infos=infos,
            seed=i,
        )
        for i in range(2)
    ]
    buffers[0] = replace(buffers[0], truncations=flags[1])
    buffers[1] = replace(buffers[1], terminations=flags[0])
    with pytest.warns(UserWarning, match="env_spec is None"):
        minari.create_dataset_from_buffers(
            "made/by-minari-v0", buffers, action_space=spaces.Box(-1, 1, (2,)), observation_space=space, **options
        )
    return root / "made/by-minari-v0"


@pytest.mark.parametrize("rows", [T, T + 1])
def test_reads_what_minari_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    obs = {"observation": np.arange((T + 1) * 3.0).reshape(-1, 3), "goals": {"desired": np.ones((T + 1, 2))}}
    space = spaces.Dict(
        {"observation": spaces.Box(-9, 99, (3,)), "goals": spaces.Dict({"desired": spaces.Box(-9, 9, (2,))})}
    )
    infos = {
        "is_success": np.arange(rows) == rows - 1,
        "qpos": np.arange(rows * 2.0).reshape(rows, 2),
        "text": ["a"] * rows,
    }
    folder = make_with_minari(tmp_path, monkeypatch, obs, space, infos)
    sources = [folder, folder / "data", folder / "data/main_data.hdf5", "minari:made/by-minari-v0"]
    for source in sources:
        demos = load(source)
        assert demos.obs_shapes == {"goals/desired": (2,), "observation": (3,)}
        assert [e.attrs for e in demos.episodes] == [{"seed": 0}, {"seed": 1}]
        assert [(e.terminated, e.truncated) for e in demos.episodes] == [(False, True), (False, True)]
        episode = demos.episodes[1]
        np.testing.assert_array_equal(episode.obs["observation"], obs["observation"][:-1])
        assert episode.final_obs is not None
        np.testing.assert_array_equal(episode.final_obs["observation"], [15, 16, 17])
        np.testing.assert_array_equal(episode.rewards, np.arange(T))
        np.testing.assert_array_equal(episode.success, np.arange(T) == T - 1)
        assert list(episode.extras) == ["infos/qpos"]
        np.testing.assert_array_equal(episode.extras["infos/qpos"], infos["qpos"][:T])
    assert "the dataset does not name its environment (no env_spec)." in inspect(folder)["notes"]


def test_box_observations_without_infos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_with_minari(tmp_path, monkeypatch, np.ones((T + 1, 3)), spaces.Box(-1, 1, (3,)), None)
    assert load(folder).obs_shapes == {"observation": (3,)}
    assert load(folder).episodes[0].success is None


@pytest.mark.parametrize("jpeg", [True, False])
def test_jpeg_images_are_refused_and_raw_ones_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jpeg: bool) -> None:
    image = np.random.default_rng(0).integers(0, 255, (T + 1, 32, 32, 3), np.uint8)
    space = spaces.Dict({"view": spaces.Box(0, 255, (32, 32, 3), np.uint8), "state": spaces.Box(-1, 1, (2,))})
    obs = {"view": image, "state": np.ones((T + 1, 2))}
    folder = make_with_minari(tmp_path, monkeypatch, obs, space, None, jpeg_encoding=jpeg)
    assert load(folder).obs_shapes == {"state": (2,)}
    assert inspect(folder)["left_out"] == {"view": "JPEG images" if jpeg else "uint8 (32, 32, 3)"}
    if jpeg:
        with pytest.raises(InputError, match=r"'view' is stored as JPEG images.*jpeg_encoding=False"):
            load(folder, obs_keys=["view"])
    else:
        np.testing.assert_array_equal(load(folder, obs_keys=["view"]).episodes[0].obs["view"], image[:-1])


def test_arrow_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set-v0/data").mkdir(parents=True)
    (tmp_path / "set-v0/data/metadata.json").write_text(json.dumps({"data_format": "arrow"}))
    with pytest.raises(InputError, match="stored as 'arrow'; only data_format='hdf5'"):
        load(tmp_path / "set-v0")


def test_dataset_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    page = "http://127.0.0.1:9/datasets/farama-minari/D4RL/tree/main/door/human-v2"
    with pytest.raises(
        InputError, match=rf"^{page} cannot be fetched: .*put them into {tmp_path}/D4RL/door/human-v2\.$"
    ):
        load("minari:D4RL/door/human-v2")
    for bad in ("minari:", "minari:../x-v0", "minari:door"):
        with pytest.raises(InputError, match="is not a valid Minari dataset ID"):
            load(bad)
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]


def edit(path: Path, key: str, value: Any) -> None:
    with h5py.File(path / "data/main_data.hdf5", "a") as file:
        del file[key]
        if value is not None:
            file[key] = value


BAD = [
    (
        "episode_1/observations/robot",
        np.ones((6, 4)),
        r"^episode_1: 'actions' has 6 rows, observation 'robot' has 6 \(7 exp",
    ),
    ("episode_1/observations/robot", None, r"^episode_1: no observation 'robot' \(available: object/pose\)"),
    ("episode_1/rewards", np.ones(9), "^episode_1: 'actions' has 6 rows, 'rewards' has 9"),
    ("episode_1/rewards", None, "^episode_1: there is no 'rewards'"),
    ("episode_1/actions", np.full((6, 2), np.nan), r"^episode_1: 'actions' is nan at \[0, 0\]"),
    ("episode_0/observations", None, "episode_0 in main_data.hdf5 has no 'observations'"),
    ("episode_1/actions", {"a": 1}, "only Box actions are supported"),
]


@pytest.mark.parametrize(("key", "value", "message"), BAD)
def test_malformed_episodes_are_named(tmp_path: Path, key: str, value: Any, message: str) -> None:
    path = save_minari(make_demos(2), tmp_path / "set-v0")
    edit(path, key, None if isinstance(value, dict) else value)
    if isinstance(value, dict):
        with h5py.File(path / "data/main_data.hdf5", "a") as file:
            file.create_group(key)
    with pytest.raises(InputError, match=message):
        load(path)


def test_damaged_metadata(tmp_path: Path) -> None:
    path = save_minari(make_demos(1), tmp_path / "set-v0")
    (path / "data/metadata.json").write_text("{")
    with pytest.raises(InputError, match=r"metadata\.json is not JSON"):
        load(path)
    (path / "data/metadata.json").unlink()
    assert load(path).env_spec is None


def test_overwriting_and_names(tmp_path: Path) -> None:
    path = save_minari(make_demos(1), tmp_path / "set-v0")
    with pytest.raises(InputError, match="exists already"):
        save_minari(make_demos(2), path)
    save_minari(make_demos(2), path, overwrite=True)
    assert len(load(path)) == 2
    (tmp_path / "precious-v0").mkdir()
    (tmp_path / "precious-v0" / "thesis.tex").write_text("...")
    with pytest.raises(InputError, match="is not overwritten"):
        save_minari(make_demos(1), tmp_path / "precious-v0", overwrite=True)
    with pytest.raises(InputError, match=r"'set' is not a valid Minari dataset ID.*e\.g\. set-v0"):
        save_minari(make_demos(1), tmp_path / "set")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["precious-v0", "set-v0"]


def test_failure_leaves_nothing_behind_and_keeps_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_minari(make_demos(1), tmp_path / "set-v0")
    with pytest.raises(InputError, match="is not a valid name"):
        save_minari(make_demos(1, extras={"a": np.ones(5), "a/b": np.ones(5)}), path, overwrite=True)
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(InputError, match=r'pip install "minari\[hdf5\]"'):
        save_minari(make_demos(1), tmp_path / "other-v0")
    assert [p.name for p in tmp_path.iterdir()] == ["set-v0"]
    assert len(load(path)) == 1


def test_extras_whose_names_would_meet(tmp_path: Path) -> None:
    for extras in ({"q": np.ones(5), "infos/q": np.ones(5)}, {"infos/success": np.ones(5)}):
        with pytest.raises(InputError, match="would get the same name"):
            save_minari(make_demos(1, extras=extras), tmp_path / "set-v0")
    path = save_minari(make_demos(1, extras={"q": np.ones(5)}), tmp_path / "set-v0")
    edit_attr(path, "dtql_robot_extras", "{")
    with pytest.raises(InputError, match="episode_0: attribute 'dtql_robot_extras' is not a JSON list"):
        load(path)


def edit_attr(path: Path, key: str, value: Any) -> None:
    with h5py.File(path / "data/main_data.hdf5", "a") as file:
        file["episode_0"].attrs[key] = value


def test_what_a_dataset_says_about_itself_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = {"text": ["a"] * T, "odd": np.ones(2)}
    folder = make_with_minari(
        tmp_path, monkeypatch, np.ones((T + 1, 3)), spaces.Box(-1, 1, (3,)), infos, author="Ada", description="Doors."
    )
    demos = load(folder)
    assert (demos.attrs["author"], demos.attrs["description"]) == (["Ada"], "Doors.")
    assert inspect(folder)["unread"] == {"infos/odd": "float64 (2,)", "infos/text": "text (5,)"}
    path = save_minari(demos, tmp_path / "again-v0")
    record = json.loads((path / "data/metadata.json").read_text())
    assert (record["author"], record["description"]) == (["Ada"], "Doors.")
    assert load(path).attrs == demos.attrs
    named = json.loads((save_minari(demos, tmp_path / "b-v0", author="Bo") / "data/metadata.json").read_text())
    assert (named["author"], named["description"]) == (["Bo"], "Doors.")


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_minari(make_demos(2), "made-v0")
    assert len(load("made-v0")) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["made-v0"]
