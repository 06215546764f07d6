"""Success that is kept as an attribute, in all the ways that recorders have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dtql_robot.datasets import inspect, load
from dtql_robot.datasets.formats.hdf5_attrs import as_flag

T = 6


def write(path: Path, labels: list[Any], key: str = "success", on_data: Any = None, rewards: Any = None) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        if on_data is not None:
            data.attrs[key] = on_data
        for i, label in enumerate(labels):
            demo = data.create_group(f"demo_{i}")
            demo["actions"], demo["obs/x"] = np.random.default_rng(i).uniform(-1, 1, (T, 2)), np.ones((T, 3)) * i
            if rewards is not None:
                demo["rewards"] = rewards[i]
            if label is not None:
                demo.attrs[key] = label
    return path


LABELS = [
    [True, False],
    [np.bool_(True), np.bool_(False)],
    [1, 0],
    [1.0, 0.0],
    ["True", "false"],
    ["yes", "no"],
    [np.array([1]), np.array([0])],
    [b"success", b"failure"],
    [np.uint8(1), np.int64(0)],
]


@pytest.mark.parametrize("labels", LABELS, ids=str)
@pytest.mark.parametrize("key", ["success", "is_success", "successful"])
def test_an_attribute_labels_its_episode(tmp_path: Path, labels: list[Any], key: str) -> None:
    path = write(tmp_path / "f.hdf5", labels, key)
    first, second = load(path).episodes
    assert first.success is not None
    assert second.success is not None
    assert first.success.tolist() == [False] * (T - 1) + [True]
    assert not second.success.any()
    assert (first.terminated, second.terminated, second.truncated) == (True, False, True)
    assert any("read from an attribute" in note for note in inspect(path)["notes"])


def test_an_attribute_that_labels_every_step(tmp_path: Path) -> None:
    (episode,) = load(write(tmp_path / "f.hdf5", [[0, 0, 1, 0, 1, 0]])).episodes
    assert episode.success is not None
    assert episode.success.tolist() == [False, False, True, False, True, False]


@pytest.mark.parametrize(
    ("value", "expected"), [([1, 0, 1], [True, False, True]), (True, [True] * 3), ("no", [False] * 3)]
)
def test_one_attribute_for_all(tmp_path: Path, value: Any, expected: list[bool]) -> None:
    demos = load(write(tmp_path / "f.hdf5", [None] * 3, on_data=value))
    assert [e.ends_in_success for e in demos.episodes] == expected


def test_an_attribute_outweighs_what_rewards_suggest(tmp_path: Path) -> None:
    rewards = np.zeros((2, T))
    rewards[:, -1] = 1
    demos = load(write(tmp_path / "f.hdf5", [True, False], rewards=rewards))
    assert [e.ends_in_success for e in demos.episodes] == [True, False]


def test_what_is_no_label_is_kept_as_an_attribute(tmp_path: Path) -> None:
    demos = load(write(tmp_path / "f.hdf5", ["perhaps", np.nan]))
    assert [e.success for e in demos.episodes] == [None, None]
    assert [e.attrs["success"] for e in demos.episodes] == ["perhaps", "nan"]
    assert [as_flag(v) for v in (2, 0.5, None, [], {}, "1")] == [None, None, None, None, None, True]


def test_a_reward_for_being_alive_is_no_success(tmp_path: Path) -> None:
    fell = np.ones(T)
    fell[-1] = 0
    for name, rewards in {"alive": np.ones((2, T)), "fell": [fell, np.ones(T)]}.items():
        path = write(tmp_path / f"{name}.hdf5", [None, None], rewards=rewards)
        assert inspect(path)["success"] is None
        assert any("not taken for success" in note for note in inspect(path)["notes"])
    path = write(tmp_path / "sparse.hdf5", [None, None], rewards=[np.eye(T)[-1], np.r_[0, 0, 0, 1, 1, 1]])
    assert [e.ends_in_success for e in load(path).episodes] == [True, True]
