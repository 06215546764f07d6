"""Which observations are pictures, copies of the action, or nothing, and what becomes of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dtql_robot.datasets import inspect, load, save_robomimic
from dtql_robot.errors import InputError
from dtql_robot.training.pixel_buffer import split_keys
from dtql_robot.types import image_fault, is_image
from tests.helpers.sample_demos import make_demos

KINDS: list[tuple[tuple[int, ...], str, bool, str | None]] = [
    ((84, 84, 3), "u1", True, None), ((84, 84, 1), "u1", True, None), ((2, 2, 3), "u1", True, None),
    ((84, 84), "u1", True, "without channels"), ((84, 84, 1), "f4", True, "uint8 images"),
    ((84, 84, 1), "u2", True, "uint8 images"), ((84, 84), "f4", True, "plain numbers"),
    ((16, 16, 1), "f4", True, "uint8 images"), ((3, 84, 84), "u1", True, "channels first"),
    ((1, 84, 84), "f4", True, "channels first"), ((4, 84, 84, 3), "u1", True, "height, width, 1 or 3"),
    ((84, 84, 4), "u1", True, "height, width, 1 or 3"), ((84, 84), "?", True, "plain numbers"),
    ((7056,), "u1", True, "plain numbers"), ((1024, 3), "f4", True, "plain numbers"),
    ((39,), "f4", False, None), ((4, 4), "f8", False, None), ((3,), "u1", False, None), ((), "f4", False, None),
    ((5, 4, 4), "f4", False, None), ((2048,), "f4", False, None), ((10, 12), "f4", False, None),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "dtype", "image", "fault"), KINDS, ids=str)
def test_one_rule_for_pictures(shape: tuple[int, ...], dtype: str, image: bool, fault: str | None) -> None:
    assert is_image(shape, np.dtype(dtype)) is image
    if image:
        found = image_fault(shape, np.dtype(dtype))
        assert found is None if fault is None else fault in str(found)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((84, 84, 1), "f4"), ((84, 84), "u1"), ((84, 84), "f4"), ((16, 16, 1), "f8"), ((32, 32), "u2")]
)
def test_depth_and_grey_images_never_become_low_dimensional(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    add(path, "camera", lambda a: np.full((len(a), *shape), 7, dtype))
    assert "camera" not in load(path).obs_shapes
    assert inspect(path)["left_out"] == {"camera": f"{np.dtype(dtype)} {shape}"}
    named = load(path, obs_keys=["camera", "robot"])
    with pytest.raises(InputError, match=r"Observation 'camera' of .* is "):
        split_keys(named, ("camera", "robot"))


def add(path: Path, key: str, make: Any) -> Path:
    """Write an observation, made of the actions, to every demo."""
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            demo[f"obs/{key}"] = demo[f"next_obs/{key}"] = make(demo["actions"][()])
    return path


def test_a_copy_of_the_action_is_left_out_unless_it_is_named(tmp_path: Path) -> None:
    path = add(save_robomimic(make_demos(3), tmp_path / "f.hdf5"), "extra", lambda a: a)
    assert "extra" not in load(path).obs_shapes
    assert inspect(path)["left_out"] == {"extra": "float32 (2,), a copy of the actions"}
    assert any("equals the action of the same step" in note for note in inspect(path)["notes"])
    assert load(path, obs_keys=["extra"]).obs_shapes == {"extra": (2,)}


@pytest.mark.parametrize("make", [lambda a: np.vstack([a[:1] * 0, a[:-1]]), lambda a: a * 0.5 + 0.1, np.zeros_like])
def test_the_last_action_or_something_else_is_no_copy(tmp_path: Path, make: Any) -> None:
    assert "extra" in load(add(save_robomimic(make_demos(3), tmp_path / "f.hdf5"), "extra", make)).obs_shapes


def test_what_a_data_generator_noted_is_left_out(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    add(path, "datagen_info/target_eef_pose/eef", lambda a: np.ones((len(a), 4, 4)))
    assert sorted(load(path).obs_shapes) == ["object/pose", "robot"]
    assert list(inspect(path)["left_out"].values()) == ["float64 (4, 4), noted by a data generator"]


def test_observations_without_values_are_left_out_and_told(tmp_path: Path) -> None:
    path = add(save_robomimic(make_demos(2), tmp_path / "f.hdf5"), "nothing", lambda a: np.zeros((len(a), 0)))
    assert sorted(load(path).obs_shapes) == ["object/pose", "robot"]
    assert "observation 'nothing' has no values and is left out." in inspect(path)["notes"]
    with pytest.raises(InputError, match=r"observation 'nothing' has shape \(5, 0\), which is empty"):
        load(path, obs_keys=["nothing"])


@pytest.mark.parametrize(
    ("actions", "refused"),
    [(np.full((5, 2), 7), True), (np.ones((5, 2), bool), True), (np.array([[-1, 0], [1, 1]] * 2), False)],
)
def test_categories_are_no_continuous_actions(tmp_path: Path, actions: Any, refused: bool) -> None:
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file["data/demo_0/actions"], file["data/demo_0/obs/x"] = actions, np.ones((len(actions), 3))
    if refused:
        with pytest.raises(InputError, match="categories or switches"):
            load(tmp_path / "f.hdf5")
    else:
        assert load(tmp_path / "f.hdf5").action_dim == 2
