"""robomimic files as they are found in the wild."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dtql_robot.datasets import inspect, load
from dtql_robot.errors import InputError

T = 6


def demo(**changes: Any) -> dict[str, Any]:
    """Arrays of one demonstration of T steps; None removes one."""
    arrays: dict[str, Any] = {
        "actions": np.linspace(-1, 1, T * 2).reshape(T, 2),
        "obs/object": np.arange(T * 3, dtype=np.float64).reshape(T, 3),
        "obs/eef": np.ones((T, 2)),
        "next_obs/object": np.arange(T * 3, dtype=np.float64).reshape(T, 3) + 3,
        "next_obs/eef": np.ones((T, 2)),
        "rewards": np.zeros(T),
        "dones": np.zeros(T, np.int64),
        "states": np.full((T, 5), 1e-300),
    }
    return {k: v for k, v in (arrays | changes).items() if v is not None}


def write(path: Path, *demos: dict[str, Any], env_args: Any = None, masks: dict[str, Any] | None = None) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        if env_args is not None:
            data.attrs["env_args"] = env_args if isinstance(env_args, str) else json.dumps(env_args)
        for index, arrays in enumerate(demos):
            data.create_group(f"demo_{index}").attrs["num_samples"] = T
            for key, value in arrays.items():
                data[f"demo_{index}/{key}"] = value
        for key, names in (masks or {}).items():
            file[f"mask/{key}"] = names
    return path


def ends(path: Path) -> list[tuple[bool, bool]]:
    return [(e.terminated, e.truncated) for e in load(path).episodes]


def test_arrays_dtypes_and_environment(tmp_path: Path) -> None:
    args = {"env_name": "Lift", "type": 1, "env_kwargs": {"robots": ["Panda"]}}
    demos = load(write(tmp_path / "f.hdf5", demo(), env_args=args))
    (episode,) = demos.episodes
    assert (demos.format, demos.env_spec, demos.env_args) == ("robomimic", "robosuite:Lift", args)
    assert demos.source == str(tmp_path / "f.hdf5")
    assert list(episode.obs) == ["eef", "object"]
    assert all(v.dtype == np.float32 for v in (*episode.obs.values(), episode.actions, episode.rewards))
    np.testing.assert_array_equal(episode.obs["object"], demo()["obs/object"])
    assert episode.final_obs is not None
    np.testing.assert_array_equal(episode.final_obs["object"], [18, 19, 20])
    np.testing.assert_array_equal(episode.extras["states"], np.full((T, 5), 1e-300))  # float64 kept
    assert episode.attrs == {}
    assert episode.success is None


def test_demos_are_sorted_by_number(tmp_path: Path) -> None:
    demos = load(write(tmp_path / "f.hdf5", *[demo(rewards=np.full(T, i + 2.0)) for i in range(12)]))
    assert [e.name for e in demos.episodes] == [f"demo_{i}" for i in range(12)]
    assert [e.rewards[0] for e in demos.episodes] == [i + 2 for i in range(12)]


@pytest.mark.parametrize(
    ("env_type", "spec"),
    [
        *((kind, "robosuite:Lift") for kind in (1, 1.0, "1", "robosuite", "ROBOSUITE", "EnvType.ROBOSUITE_TYPE")),
        *((kind, "Lift") for kind in (2, "2", "gym", "Gymnasium", "GYM_TYPE")),
        *((kind, None) for kind in (3, "isaac", None)),
    ],
)
def test_env_spec_depends_on_the_type(tmp_path: Path, env_type: Any, spec: str | None) -> None:
    assert load(write(tmp_path / "f.hdf5", demo(), env_args={"env_name": "Lift", "type": env_type})).env_spec == spec


def test_obs_keys_choose_and_order(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", demo())
    assert list(load(path, obs_keys=["object", "eef"]).episodes[0].obs) == ["object", "eef"]
    assert load(path, obs_keys=["eef"]).obs_shapes == {"eef": (2,)}
    with pytest.raises(InputError, match=r"f\.hdf5: no observation 'eeff'; available: eef, object\."):
        load(path, obs_keys=["eeff"])


def test_images_only_when_asked_for(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (T, 8, 8, 3), np.uint8)
    extra = {
        f"{which}/{k}": v
        for which in ("obs", "next_obs")
        for k, v in {"view": image, "nested/x": image[:, 0, 0]}.items()
    }
    extra |= {f"{which}/depth": np.zeros((T, 40, 40, 1), np.float32) for which in ("obs", "next_obs")}
    path = write(tmp_path / "f.hdf5", demo(**extra))
    assert load(path).obs_shapes == {"eef": (2,), "nested/x": (3,), "object": (3,)}
    assert inspect(path)["left_out"] == {"depth": "float32 (40, 40, 1)", "view": "uint8 (8, 8, 3)"}
    episode = load(path, obs_keys=["view"]).episodes[0]
    assert episode.obs["view"].dtype == np.uint8
    np.testing.assert_array_equal(episode.obs["view"], image)
    with pytest.raises(InputError, match=r"no observation 'eef,view'.*separated by spaces"):
        load(path, obs_keys=["eef,view"])
    low = {f"{which}/{k}": None for which in ("obs", "next_obs") for k in ("object", "eef")}
    cameras = low | {"obs/view": image, "next_obs/view": image, "obs/depth": np.zeros((T, 40, 40, 1), np.float32)}
    only = write(tmp_path / "only.hdf5", demo(**cameras))
    assert load(only).obs_shapes == {"view": (8, 8, 3)}  # what else is there to look at?
    assert inspect(only)["left_out"] == {"depth": "float32 (40, 40, 1)"}
    cameras |= {"obs/view": None, "next_obs/view": None}
    nothing = write(tmp_path / "nothing.hdf5", demo(**cameras))
    with pytest.raises(InputError, match=r"no low-dimensional observations: depth \(float32 \(40, 40, 1\)\)"):
        load(nothing)


def test_filter_keys(tmp_path: Path) -> None:
    masks = {
        "train": np.array([b"demo_2", b"demo_0"]),
        "valid": ["demo_1"],
        "bad": ["demo_9"],
        "none": np.array([], "S1"),
    }
    path = write(tmp_path / "f.hdf5", demo(), demo(), demo(), masks=masks)
    assert [e.name for e in load(path, filter_key="train").episodes] == ["demo_0", "demo_2"]
    assert [e.name for e in load(path, filter_key="valid").episodes] == ["demo_1"]
    assert inspect(path)["filter_keys"] == {"bad": 1, "none": 0, "train": 2, "valid": 1}
    with pytest.raises(InputError, match=r"no filter key 'test'; available: bad, none, train, valid\."):
        load(path, filter_key="test")
    with pytest.raises(InputError, match="'bad' names demo_9, which is not in the file"):
        load(path, filter_key="bad")
    with pytest.raises(InputError, match="selects no demonstrations"):
        load(path, filter_key="none")
    with pytest.raises(InputError, match="the file has none"):
        load(write(tmp_path / "g.hdf5", demo()), filter_key="train")


def test_missing_rewards_are_zeros_and_told(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", demo(rewards=None), demo())
    episode = load(path).episodes[0]
    np.testing.assert_array_equal(episode.rewards, np.zeros(T, np.float32))
    assert "1 of 2 episodes have no rewards; zeros are used instead." in inspect(path)["warnings"]


def test_sparse_rewards_are_success(tmp_path: Path) -> None:
    good, late = np.array([0, 0, 0, 0, 1, 1.0]), np.array([0, 0, 1, 1, 0, 0.0])
    path = write(tmp_path / "f.hdf5", demo(rewards=good), demo(), demo(rewards=late), masks={"failed": ["demo_1"]})
    episodes = load(path).episodes
    assert [e.ends_in_success for e in episodes] == [True, False, False]
    np.testing.assert_array_equal(episodes[2].success, late == 1)
    assert ends(path) == [(True, False), (False, True), (False, True)]
    assert load(path, filter_key="failed").episodes[0].success is not None  # the convention is the whole file's
    dense = write(tmp_path / "dense.hdf5", demo(rewards=good), demo(rewards=good / 2))
    assert [e.success for e in load(dense).episodes] == [None, None]


def test_own_success_array_wins(tmp_path: Path) -> None:
    success = np.array([0, 0, 1, 1, 1, 1])
    path = write(tmp_path / "f.hdf5", demo(success=success, rewards=np.ones(T)))
    np.testing.assert_array_equal(load(path).episodes[0].success, success == 1)


@pytest.mark.parametrize("dones", [np.zeros(T), np.eye(T)[-1]])
def test_dones_never_overrule_success(tmp_path: Path, dones: Any) -> None:
    path = write(tmp_path / "f.hdf5", demo(rewards=np.eye(T)[-1], dones=dones), demo(dones=dones))
    assert ends(path) == [(True, False), (False, True)]


def test_dones_count_only_where_they_differ(tmp_path: Path) -> None:
    last = np.eye(T)[-1]
    differ = write(tmp_path / "a.hdf5", demo(dones=last), demo())
    assert ends(differ) == [(True, False), (False, True)]
    always = write(tmp_path / "b.hdf5", demo(dones=last), demo(dones=last))
    assert ends(always) == [(False, True), (False, True)]
    assert ends(write(tmp_path / "c.hdf5", demo(dones=None))) == [(False, True)]


def test_without_next_obs_the_end_is_unknown(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", demo(**{"next_obs/object": None, "next_obs/eef": None}))
    assert load(path).episodes[0].final_obs is None
    assert inspect(path)["final_obs"] == 0


def test_columns_and_scalars_get_their_shape(tmp_path: Path) -> None:
    path = write(
        tmp_path / "f.hdf5", demo(rewards=np.ones((T, 1)), **{"obs/object": np.ones(T), "next_obs/object": np.ones(T)})
    )
    episode = load(path).episodes[0]
    assert episode.rewards.shape == (T,)
    assert episode.obs["object"].shape == (T, 1)
    assert episode.final_obs is not None
    assert episode.final_obs["object"].shape == (1,)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "length": ({"rewards": np.zeros(T + 1)}, r"^demo_1: 'actions' has 6 rows, 'rewards' has 7 in f\.hdf5$"),
    "obs length": ({"obs/eef": np.ones((T - 1, 2))}, r"^demo_1: 'actions' has 6 rows, 'obs/eef' has 5 in f\.hdf5$"),
    "next_obs length": ({"next_obs/eef": np.ones((T - 1, 2))}, r"^demo_1: 'actions' has 6 rows, 'next_obs/eef' has 5"),
    "dones length": ({"dones": np.zeros(2)}, "'dones' has 2"),
    "nan action": ({"actions": np.where(np.eye(T, 2) > 0, np.nan, 0)}, r"^demo_1: 'actions' is nan at \[0, 0\]"),
    "inf reward": ({"rewards": np.array([0, 0, 0, np.inf, 0, 0])}, r"^demo_1: 'rewards' is inf at \[3\]"),
    "nan obs": ({"obs/eef": np.full((T, 2), np.nan)}, r"^demo_1: 'eef' is nan at \[0, 0\]"),
    "overflow": ({"obs/eef": np.full((T, 2), 1e300)}, r"^demo_1: 'eef' is 1e\+300 at \[0, 0\], which is not a finite"),
    "nan final obs": ({"next_obs/eef": np.full((T, 2), np.nan)}, r"^demo_1: 'eef' is nan"),
    "no actions": ({"actions": None}, r"^demo_1: there are no 'actions' \(only dones, next_obs, "),
    "empty": ({"actions": np.zeros((0, 2))}, r"^demo_1: 'actions' has shape \(0, 2\)"),
    "discrete": ({"actions": np.zeros(T, int)}, r"'actions' has shape \(6,\).*Only continuous actions"),
    "text actions": ({"actions": np.full((T, 2), b"x")}, r"data/demo_1/actions in f\.hdf5 holds text"),
    "object actions": ({"actions": ["a"] * T}, "holds objects or text; expected numbers"),
    "complex": ({"actions": np.ones((T, 2), complex)}, "holds complex numbers"),
    "no obs": ({"obs/eef": None, "obs/object": None}, "^demo_1: there is no 'obs'"),
    "lacks a key": ({"obs/eef": None}, r"^demo_1: no observation 'eef' in 'obs' \(available: object\)"),
    "obs shape": ({"obs/eef": np.ones((T, 3)), "next_obs/eef": np.ones((T, 3))}, r"^demo_1: observations are .*demo_0"),
    "action dims": ({"actions": np.ones((T, 3))}, "^demo_1: actions have 3 dims, those of demo_0 2"),
    "rewards shape": ({"rewards": np.ones((T, 2))}, r"'rewards' has shape \(6, 2\); expected \(6,\)"),
    "scalar": ({"rewards": 1.0}, r"'rewards' has shape \(\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_demos_are_named(tmp_path: Path, case: str) -> None:
    changes, message = BAD[case]
    with pytest.raises(InputError, match=message):
        load(write(tmp_path / "f.hdf5", demo(), demo(**changes)))


def test_damaged_environment_record(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"attribute 'env_args' of 'data' in f\.hdf5 is not JSON"):
        load(write(tmp_path / "f.hdf5", demo(), env_args="{oops"))
    with pytest.raises(InputError, match="JSON of type list"):
        load(write(tmp_path / "f.hdf5", demo(), env_args="[]"))


def test_public_lift_file(real_file: Callable[[str], Path]) -> None:
    demos = load(real_file("robocore_lift_scripted/low_dim.hdf5"))
    assert (len(demos), demos.num_transitions, demos.action_dim) == (200, 10167, 7)
    assert demos.obs_shapes == {"state": (60,)}
    assert [e.name for e in demos.episodes[9:12]] == ["demo_9", "demo_10", "demo_11"]
    assert all(e.final_obs is None and e.truncated and not e.terminated for e in demos.episodes)
    assert all(e.rewards[-1] == 1.0 and e.success is None for e in demos.episodes)  # dense rewards: success unknown
    summary = inspect(demos)
    assert [a["constant"] for a in summary["action"]] == [False] * 3 + [True] * 3 + [False]
    assert summary["action"][6]["binary"]


@pytest.mark.parametrize("name", ["robosuite_lift_v140/demo.hdf5", "robosuite_handover_2021/demo.hdf5"])
def test_raw_robosuite_files_must_be_converted(real_file: Callable[[str], Path], name: str) -> None:
    with pytest.raises(InputError, match=r"simulator states but no observations.*must be converted"):
        load(real_file(name))
