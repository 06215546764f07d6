"""`convert` between all formats: nothing changes unless an option says so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from dtql_robot.cli import main
from dtql_robot.datasets import inspect, load, save_minari, save_robomimic
from dtql_robot.datasets.formats.hdf5 import array_keys
from dtql_robot.datasets.loader import read_source
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import assert_same_episode, assert_same_source, demonstrations, make_demos


def convert(*arguments: object) -> int:
    return main(["convert", *map(str, arguments)])


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(demos=demonstrations())
def test_there_and_back_is_exact(tmp_path: Path, demos: Demonstrations) -> None:
    first = save_robomimic(demos, tmp_path / "a.hdf5", overwrite=True)
    assert convert(first, tmp_path / "b-v0", "--overwrite") == 0
    assert convert(tmp_path / "b-v0", tmp_path / "c.hdf5", "--overwrite") == 0
    again = load(tmp_path / "c.hdf5", obs_keys=list(demos.obs_shapes))
    assert_same_source(demos, again)
    for before, after in zip(demos.episodes, again.episodes, strict=True):
        assert_same_episode(before, after)


def test_a_foreign_file_comes_back_with_the_same_members(tmp_path: Path) -> None:
    """robomimic -> Minari -> robomimic, compared array by array in the files themselves."""
    rng = np.random.default_rng(0)
    steps = 6
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_version": "1.4.1", "env_kwargs": {}})
        data.attrs["total"], data.attrs["bddl_file_name"] = 2 * steps, "x.bddl"
        for i in range(2):
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"], demo.attrs["model_file"] = steps, "<mujoco/>"
            for key, rows in {
                "eye": rng.integers(0, 255, (steps + 1, 8, 9, 3), np.uint8),
                "x": rng.normal(size=(steps + 1, 3)),
            }.items():
                demo[f"obs/{key}"], demo[f"next_obs/{key}"] = rows[:-1], rows[1:]
            demo["actions"], demo["states"] = rng.uniform(-1, 1, (steps, 7)), rng.normal(size=(steps, 32))
            demo["rewards"], demo["dones"] = np.eye(steps)[-1], np.eye(steps, dtype=np.int64)[-1]
    assert convert(tmp_path / "a.hdf5", tmp_path / "b-v0") == 0
    assert convert(tmp_path / "b-v0", tmp_path / "c.hdf5") == 0
    with h5py.File(tmp_path / "a.hdf5") as a, h5py.File(tmp_path / "c.hdf5") as c:
        assert dict(a["data"].attrs) == dict(c["data"].attrs)
        for demo in a["data"]:
            assert set(a["data"][demo].attrs.items()) <= set(c["data"][demo].attrs.items())
            keys = array_keys(a["data"][demo])
            assert set(array_keys(c["data"][demo])) == {*keys, "success"}
            for key in keys:
                before, after = a["data"][demo][key][()], c["data"][demo][key][()]
                assert after.dtype == (before.dtype if key in UNCHANGED else np.float32)
                np.testing.assert_array_equal(after, before.astype(after.dtype))


UNCHANGED = ("states", "dones", "obs/eye", "next_obs/eye")


def test_images_and_filter_keys_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = make_demos(4)
    episodes = []
    for e in base.episodes:
        image = rng.integers(0, 255, (len(e) + 1, 8, 8, 3)).astype(np.uint8)
        assert e.final_obs is not None
        episodes.append(replace(e, obs={**e.obs, "front": image[:-1]}, final_obs={**e.final_obs, "front": image[-1]}))
    demos = replace(base, episodes=tuple(episodes))
    path = save_robomimic(demos, tmp_path / "a.hdf5", masks={"train": [0, 2], "valid": [1]})
    assert convert(path, tmp_path / "b.hdf5") == 0
    assert [e.name for e in load(tmp_path / "b.hdf5", filter_key="train").episodes] == ["demo_0", "demo_2"]
    for before, after in zip(
        demos.episodes, load(tmp_path / "b.hdf5", obs_keys=list(demos.obs_shapes)).episodes, strict=True
    ):
        assert_same_episode(before, after)
    assert convert(path, tmp_path / "c.hdf5", "--filter-key", "train") == 0
    assert read_source(tmp_path / "c.hdf5").filter_keys == {"train": ["demo_0", "demo_1"]}
    assert load(tmp_path / "c.hdf5", obs_keys=["front"]).episodes[1].obs["front"].dtype == np.uint8


def test_options_change_what_they_say(tmp_path: Path) -> None:
    base = make_demos(3, success=None)
    wide = replace(
        base,
        episodes=tuple(
            replace(e, actions=e.actions * 3, rewards=np.arange(len(e), dtype=np.float32) / (len(e) - 1))
            for e in base.episodes
        ),
    )
    path = save_robomimic(wide, tmp_path / "a.hdf5")
    out = tmp_path / "b.hdf5"
    assert convert(path, out, "--clip-actions", "--success-reward", 1, "--env", "FetchPush-v4") == 0
    demos = load(out)
    assert demos.env_spec == "FetchPush-v4"
    assert all(np.abs(e.actions).max() <= 1 for e in demos.episodes)
    assert [e.success.tolist() for e in demos.episodes if e.success is not None] == [
        [False] * (len(e) - 1) + [True] for e in demos.episodes
    ]
    assert convert(path, out, "--overwrite", "--time-limit", 7) == 0
    assert [(e.terminated, e.truncated) for e in load(out).episodes] == [(True, False), (True, False), (False, True)]


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "a.hdf5")
    assert convert(path, path) == 2
    assert convert(path, tmp_path / "b.hdf5", "--success-reward", 1e9) == 2
    assert "the highest is" in capsys.readouterr().err
    assert convert(path, tmp_path / "b.hdf5", "--time-limit", 99) == 2
    assert convert(path, tmp_path / "b.hdf5", "--cameras", "agentview") == 2
    assert "no 'states'" in capsys.readouterr().err
    assert convert(path, tmp_path / "name without version") == 2
    for out in (path / "below-v0", path / "below.hdf5"):
        assert convert(path, out) == 2
        assert "cannot be written" in capsys.readouterr().err
    for wrong in (("--size", 0, 84), ("--workers", 0)):
        assert convert(path, tmp_path / "b.hdf5", *wrong) == 2
        assert "must be 1 or more" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5"]


def test_several_sources_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    a, b = make_demos(2), make_demos(3)
    save_minari(a, tmp_path / "door/a-v0")
    save_minari(replace(b, env_spec="FetchPush-v4"), tmp_path / "door/b-v0")
    both = load("minari:door/a-v0,minari:door/b-v0")
    assert [e.name for e in both.episodes[1:3]] == ["episode_1 of minari:door/a-v0", "episode_0 of minari:door/b-v0"]
    assert (both.format, both.env_spec, len(both)) == ("minari", None, 5)
    for before, after in zip((*a.episodes, *b.episodes), both.episodes, strict=True):
        assert_same_episode(before, after)
    path = save_robomimic(replace(a, env_spec="FetchPush-v4"), tmp_path / "c, d.hdf5")
    assert len(load(path)) == 2  # a comma in the name of a file that exists
    joined = load(f"minari:door/b-v0,{save_robomimic(b, tmp_path / 'e.hdf5')}")
    assert joined.format == "combined"
    assert "name different environments" in " ".join(inspect("minari:door/a-v0,minari:door/b-v0")["notes"])
    other = replace(a, episodes=tuple(replace(e, obs={"x": e.obs["robot"]}, final_obs=None) for e in a.episodes))
    save_robomimic(other, tmp_path / "other.hdf5")
    assert main(["inspect", f"{tmp_path / 'e.hdf5'},{tmp_path / 'other.hdf5'}"]) == 2
    assert main(["inspect", f"{tmp_path / 'e.hdf5'},,"]) == 2


def test_d4rl_door(tmp_path: Path, real_file: Callable[[str], Path]) -> None:
    source = real_file("d4rl_door_human_v0/door-v0_demos_clipped.hdf5")
    assert convert(source, tmp_path / "door-v0", "--env", "AdroitHandDoor-v1") == 0
    assert convert(tmp_path / "door-v0", tmp_path / "door.hdf5") == 0
    assert load(tmp_path / "door.hdf5").env_spec == "AdroitHandDoor-v1"
    before = load(source)
    for path in (tmp_path / "door-v0", tmp_path / "door.hdf5"):
        after = load(path)
        assert (len(after), after.num_transitions) == (25, 6729)
        for a, b in zip(before.episodes, after.episodes, strict=True):
            assert_same_episode(a, b)


@pytest.mark.slow
def test_robocore_lift_with_success(tmp_path: Path, real_file: Callable[[str], Path]) -> None:
    source = real_file("robocore_lift_scripted/low_dim.hdf5")
    assert convert(source, tmp_path / "lift.hdf5", "--success-reward", 1, "--env", "robosuite:Lift") == 0
    demos = load(tmp_path / "lift.hdf5")
    assert demos.env_spec == "robosuite:Lift"
    assert all(e.ends_in_success and e.terminated for e in demos.episodes)
    assert {int(np.sum(e.success)) for e in demos.episodes if e.success is not None} == {11}  # held for eleven steps
    for a, b in zip(load(source).episodes, demos.episodes, strict=True):
        assert_same_episode(dataclasses.replace(a, success=b.success, terminated=True, truncated=False), b)
