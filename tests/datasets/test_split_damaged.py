"""Damaged demonstrations and files: what split leaves out, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_robomimic
from dtql_robot.datasets.split import split_demos
from dtql_robot.errors import InputError
from tests.helpers.sample_demos import make_demos


def nan_action(demo: h5py.Group) -> None:
    demo["actions"][1, 0] = np.nan


def infinite_obs(demo: h5py.Group) -> None:
    demo["obs/robot"][0, 0] = np.inf


def no_steps(demo: h5py.Group) -> None:
    for key in ("actions", "rewards", "dones", "success", "obs/robot", "obs/object/pose", "next_obs/robot"):
        rows = demo[key][:0]
        del demo[key]
        demo[key] = rows


def bare(demo: h5py.Group) -> None:
    demo.clear()


def other_length(demo: h5py.Group) -> None:
    rewards = demo["rewards"][:-1]
    del demo["rewards"]
    demo["rewards"] = rewards


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("spoil", [nan_action, infinite_obs, no_steps, bare, other_length])
def test_a_bad_demo_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[h5py.Group], None], number: int
) -> None:
    demos = make_demos(8)
    path = save_robomimic(replace(demos, episodes=demos.episodes * 2), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        spoil(file[f"data/demo_{number}"])
    assert main(["split", str(path), "--train", "0.5"]) == 0
    assert f"left out: demo_{number}: " in capsys.readouterr().err
    with h5py.File(path) as file:
        train, valid = ({n.decode() for n in file[f"mask/{k}"]} for k in ("train", "valid"))
    assert train | valid == {f"demo_{i}" for i in range(16)} - {f"demo_{number}"}
    assert not train & valid
    for i in set(range(8)) - {number}:
        assert (f"demo_{i}" in train) == (f"demo_{i + 8}" in train)
    if spoil is not bare and spoil is not no_steps:
        assert len(load(path, filter_key="train")) == len(train)


def test_a_damaged_file_is_refused_as_inspect_refuses_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_robomimic(make_demos(6), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        demo = file["data/demo_2/obs"]
        rows = demo["robot"][:]
        del demo["robot"]
        start = demo.create_dataset("robot", data=rows, compression="gzip").id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)
    for command in ("inspect", "split"):
        assert main([command, str(path)]) == 2
        assert "damaged" in capsys.readouterr().err
    assert path.read_bytes() == bytes(content)
    cut = tmp_path / "cut.hdf5"
    cut.write_bytes(content[: len(content) // 2])
    assert main(["split", str(cut)]) == 2
    assert cut.read_bytes() == bytes(content[: len(content) // 2])


def test_a_file_without_one_good_demo_is_refused(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(3), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        for name in file["data"]:
            nan_action(file[f"data/{name}"])
    before = path.read_bytes()
    with pytest.raises(InputError, match="'actions' is nan"):
        split_demos(path)
    assert path.read_bytes() == before
