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
from dtql_robot.datasets import load, save_lerobot, save_minari, save_robomimic
from dtql_robot.datasets.duplicates import duplicate_episodes
from dtql_robot.datasets.split import split_demos
from dtql_robot.datasets.validation.validate import validate
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import assert_same_episode, make_demos, make_episode


def test_train_and_valid_divide_the_file(tmp_path: Path) -> None:
    demos = make_demos(20)
    path = save_robomimic(demos, tmp_path / "f.hdf5", masks={"mine": [3]})
    masks = split_demos(path, train=0.8, subsets=(0.5, 0.25), seed=1)
    assert {k: len(v) for k, v in masks.items()} == {
        "train": 16,
        "valid": 4,
        "25_percent_train": 4,
        "50_percent_train": 8,
    }
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


def test_copies_with_another_zero_stay_on_one_side(tmp_path: Path) -> None:
    """-0.0 and 0.0 are one value; and what only looks alike is no copy."""
    demos = make_demos(6)
    for episode in demos.episodes:
        episode.obs["robot"][1] = 0.0
        episode.actions[2] = 0.0
    negative = [
        replace(
            e,
            actions=np.where(e.actions == 0, np.float32(-0.0), e.actions),
            obs={k: np.where(v == 0, np.float32(-0.0), v) for k, v in e.obs.items()},
        )
        for e in demos.episodes
    ]
    other = replace(demos.episodes[0], actions=demos.episodes[0].actions + np.float32(1e-3))
    path = save_robomimic(replace(demos, episodes=(*demos.episodes, *negative, other)), tmp_path / "f.hdf5")
    masks = split_demos(path, train=0.5)
    assert sum(map(len, masks.values())) == 13
    for i in range(6):
        assert (f"demo_{i}" in masks["train"]) == (f"demo_{i + 6}" in masks["train"])
    assert [len(g) for g in duplicate_episodes(load(path))] == [2] * 6


def test_copies_in_a_lerobot_folder_stay_on_one_side(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'dtql-robot[lerobot]')")
    demos = make_demos(5)
    path = save_lerobot(replace(demos, episodes=demos.episodes * 2), tmp_path / "folder")
    masks = {key: set(names) for key, names in split_demos(path, train=0.6).items()}
    names = [e.name for e in load(path).episodes]
    assert {key: len(v) for key, v in masks.items()} == {"train": 6, "valid": 4}
    assert all((names[i] in masks["train"]) == (names[i + 5] in masks["train"]) for i in range(5))


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
        ({"train": 1.0}, "mask/train already"),
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


def test_copies_of_raw_recordings_stay_together_and_bad_ones_are_left_out(
    tmp_path: Path, real_file: Callable[[str], Path]
) -> None:
    path = Path(shutil.copyfile(real_file("robosuite_handover_2021/demo.hdf5"), tmp_path / "demo.hdf5"))
    with h5py.File(path, "a") as file:
        names = sorted(file["data"])
        for name in names:
            file["data"].copy(name, f"copy_of_{name}")
        file[f"data/{names[2]}/states"][5, 3] = np.nan
    problems: list[str] = []
    masks = split_demos(path, train=0.5, problems=problems)
    assert sorted(masks["train"] + masks["valid"]) == sorted({*names, *(f"copy_of_{n}" for n in names)} - {names[2]})
    for name in set(names) - {names[2]}:
        assert (name in masks["train"]) == (f"copy_of_{name}" in masks["train"])
    assert len(problems) == 1
    assert problems[0].startswith(names[2])
    with pytest.raises(InputError, match="no success signal"):
        split_demos(path, only_success=True)


def test_all_that_succeed_can_be_for_training(tmp_path: Path) -> None:
    demos = make_demos(6)
    won = np.zeros(5, bool), np.array([0, 1, 0, 0, 0], bool), np.array([0, 0, 0, 0, 1], bool)
    rng = np.random.default_rng(1)
    episodes = [make_episode(rng, e.name, 5, success=won[i % 3]) for i, e in enumerate(demos.episodes)]
    path = save_robomimic(replace(demos, episodes=tuple(episodes)), tmp_path / "f.hdf5", masks={"some": [0, 1, 2]})
    assert split_demos(path, train=0.5, only_success=True).keys() == {"train", "valid"}
    masks = split_demos(path, train=1.0, only_success=True, subsets=(0.5,), overwrite=True)
    assert masks == {"train": ["demo_2", "demo_5"], "50_percent_train": masks["50_percent_train"]}
    with h5py.File(path) as file:
        assert set(file["mask"]) == {"some", "train", "50_percent_train"}  # an old mask/valid would be a part of train
    ever = split_demos(path, train=1.0, only_success=True, success_rule="any", overwrite=True)
    assert ever["train"] == ["demo_1", "demo_2", "demo_4", "demo_5"]
    assert split_demos(path, train=1.0, within="some") == {"some_train": ["demo_0", "demo_1", "demo_2"]}


def test_a_link_stays_and_the_file_behind_it_gets_the_masks(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(4), tmp_path / "real" / "f.hdf5")
    first, second = tmp_path / "first.hdf5", tmp_path / "second.hdf5"
    first.symlink_to(Path("real") / "f.hdf5")
    second.symlink_to(first)
    masks = split_demos(second, train=0.5)
    assert first.is_symlink()
    assert second.is_symlink()
    assert [e.name for e in load(path, filter_key="train").episodes] == masks["train"]
    assert main(["convert", str(path), str(second), "--filter-key", "train", "--overwrite"]) == 0
    assert second.is_symlink()
    assert len(load(path)) == 2
    assert sorted(p.name for p in path.parent.iterdir()) == ["f.hdf5"]


def test_images_alone_and_an_empty_list_of_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (5, 24, 24, 3)).astype(np.uint8) for _ in range(4)]
    episodes = tuple(
        replace(make_episode(rng, f"demo_{i}", 5), obs={"front": images[i % 4]}, final_obs=None) for i in range(4)
    )
    path = save_robomimic(Demonstrations((*episodes, *episodes), "made", "robomimic"), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        file["mask/nothing"] = np.array([])
    masks = split_demos(path, train=0.5)
    assert len(masks["train"]) == len(masks["valid"]) == 4
    for i in range(4):
        assert (f"demo_{i}" in masks["train"]) == (f"demo_{i + 4}" in masks["train"])


def test_which_success_counts_is_the_environments_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    early = np.array([0, 1, 0, 0, 0], bool)
    episodes = tuple(
        make_episode(rng, f"demo_{i}", 5, success=early if i % 2 else early[::-1] & early) for i in range(4)
    )
    unnamed = Demonstrations((*episodes, make_episode(rng, "demo_4", 5)), "made", "robomimic")
    options = ["--only-success", "--train", "1", "--overwrite"]
    for spec, chosen, count in (
        ("AdroitHandDoor-v1", (), 3),
        ("FetchPush-v4", (), 1),
        (None, (), 1),
        (None, ("--success-rule", "any"), 3),
    ):
        path = save_robomimic(replace(unnamed, env_spec=spec), tmp_path / "f.hdf5", overwrite=True)
        assert main(["split", str(path), *options, *chosen]) == 0
        printed = capsys.readouterr().out
        assert f"mask/train: {count} demonstrations" in printed
        assert ("1 demonstrations end in success, 3 succeed at some step" in printed) == (spec is None and not chosen)


def test_demos_may_have_any_name(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(5), tmp_path / "f.hdf5")
    names = ["demo_é", "世界", "n" * 300, "a b", ".."]
    with h5py.File(path, "a") as file:
        for number, name in enumerate(names):
            file["data"].move(f"demo_{number}", name)
    masks = split_demos(path, train=0.6)
    assert sorted(masks["train"] + masks["valid"]) == sorted(names)
    assert [e.name for e in load(path, filter_key="train").episodes] == masks["train"]
