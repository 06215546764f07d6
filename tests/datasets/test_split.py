"""Filter keys that divide a file, and nothing else in it changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_minari, save_robomimic
from dtql_robot.datasets.split import split_demos
from dtql_robot.datasets.validation.validate import validate
from dtql_robot.errors import InputError
from tests.helpers.sample_demos import assert_same_episode, make_demos


def test_train_and_valid_divide_the_file(tmp_path: Path) -> None:
    demos = make_demos(20)
    path = save_robomimic(demos, tmp_path / "f.hdf5", masks={"mine": [3]})
    masks = split_demos(path, train=0.8, subsets=(0.5, 0.25), seed=1)
    assert {k: len(v) for k, v in masks.items()} == {
        "train": 16, "valid": 4, "25_percent_train": 4, "50_percent_train": 8,
    }  # fmt: skip
    assert set(masks["train"]).isdisjoint(masks["valid"])
    assert set(masks["25_percent_train"]) < set(masks["50_percent_train"]) < set(masks["train"])
    for key, names in masks.items():
        assert [e.name for e in load(path, filter_key=key).episodes] == names
    assert [e.name for e in load(path, filter_key="mine").episodes] == ["demo_3"]
    for before, after in zip(demos.episodes, load(path).episodes, strict=True):
        assert_same_episode(before, after)
    assert not [f for f in validate(path).findings if f.code.startswith("filter")]
    assert split_demos(path, train=0.8, seed=1, overwrite=True)["train"] == masks["train"]
    assert split_demos(path, train=0.8, seed=2, overwrite=True)["train"] != masks["train"]


def test_copies_stay_on_one_side(tmp_path: Path) -> None:
    demos = make_demos(6)
    doubled = replace(demos, episodes=demos.episodes * 2)
    path = save_robomimic(doubled, tmp_path / "f.hdf5")
    masks = split_demos(path, train=0.5)
    assert len(masks["train"]) == len(masks["valid"]) == 6
    for i in range(6):
        sides = [f"demo_{j}" in masks["train"] for j in (i, i + 6)]
        assert sides[0] == sides[1]


def test_within_and_only_success(tmp_path: Path) -> None:
    demos = make_demos(8)
    mixed = replace(
        demos,
        episodes=tuple(replace(e, success=e.success & (i % 2 == 0)) for i, e in enumerate(demos.episodes)),  # type: ignore[operator]
    )
    path = save_robomimic(mixed, tmp_path / "f.hdf5", masks={"some": [0, 1, 2, 3]})
    within = split_demos(path, train=0.5, within="some")
    assert set(within) == {"some_train", "some_valid"}
    won = split_demos(path, train=0.5, only_success=True)
    assert sorted(won["train"] + won["valid"]) == ["demo_0", "demo_2", "demo_4", "demo_6"]


def test_refusals_leave_the_file_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_robomimic(make_demos(4), tmp_path / "f.hdf5")
    split_demos(path, train=0.5)
    before = path.read_bytes()
    for options, message in (
        ({"train": 0.5}, "mask/train already"),
        ({"train": 0.99, "overwrite": True}, "one side would be empty"),
        ({"train": 1.5}, "between 0 and 1"),
        ({"within": "nothing"}, "no filter key 'nothing'"),
    ):
        with pytest.raises(InputError, match=message):
            split_demos(path, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is a minari file"):
        split_demos(save_minari(make_demos(3), tmp_path / "x-v0") / "data/main_data.hdf5")
    assert path.read_bytes() == before
    assert main(["split", str(path), "--overwrite", "--train", "0.75"]) == 0
    assert "mask/train: 3 demonstrations" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.hdf5", "x-v0"]


def test_raw_recordings_can_be_divided(tmp_path: Path, real_file: Callable[[str], Path]) -> None:
    path = Path(shutil.copyfile(real_file("robosuite_handover_2021/demo.hdf5"), tmp_path / "demo.hdf5"))
    masks = split_demos(path, train=0.7)
    with h5py.File(path) as file:
        assert [n.decode() for n in np.asarray(file["mask/train"])] == masks["train"]
        assert len(file["mask/valid"]) == 2
