"""From every format into every other that holds what it holds, and back: nothing changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_d4rl, save_lerobot, save_minari, save_ogbench, save_robomimic
from dtql_robot.datasets.formats.ogbench_read import FINAL_INFOS
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import assert_same_arrays, assert_same_episode, assert_same_source, make_demos

pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'dtql-robot[lerobot]')")


def write(demos: Demonstrations, layout: str, folder: Path) -> Path:
    if layout == "robomimic":
        return save_robomimic(demos, folder / "a.hdf5")
    if layout == "minari":
        return save_minari(demos, folder / "a-v0")
    if layout == "ogbench":
        return save_ogbench(demos, folder / "a.npz")
    if layout == "d4rl":
        return save_d4rl(demos, folder / "a.hdf5")
    return save_lerobot(demos, folder / "a", version="v2.1" if layout.endswith("2.1") else "v3.0")


def what_flat_files_hold(demos: Demonstrations) -> Demonstrations:
    """One observation, under the name that OGBench's and D4RL's layouts have for it."""
    episodes = []
    for e in demos.episodes:
        assert e.final_obs is not None
        episodes.append(
            replace(e, obs={"observation": e.obs["robot"]}, final_obs={"observation": e.final_obs["robot"]})
        )
    return replace(demos, episodes=tuple(episodes))


def full_demos() -> Demonstrations:
    """Images, extras, masks, attributes, an environment."""
    demos = make_demos(2)
    record = {"env_name": "Lift", "type": 1, "env_version": "1.4.1", "env_kwargs": {"control_freq": 20}}
    episodes = []
    for i, e in enumerate(demos.episodes):
        picture = np.random.default_rng(i).integers(0, 255, (len(e), 16, 24, 3), dtype=np.uint8)
        assert e.final_obs is not None
        episodes.append(
            replace(
                e,
                obs={**e.obs, "front_image": picture},
                final_obs={**e.final_obs, "front_image": picture[0]},
                extras={
                    "states": np.random.default_rng(i).normal(size=(len(e), 5)),
                    "infos/qpos": np.ones((len(e), 2)),
                },
                attrs={"task": f"task {i}", "seed": i},
                masks=np.arange(len(e)) < 3 if i else None,
            )
        )
    return replace(demos, episodes=tuple(episodes), env_args=record, attrs={"author": "me"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        *permutations(["robomimic", "minari", "lerobot v2.1", "lerobot v3.0", "ogbench"], 2),
        *(("d4rl", "robomimic"), ("d4rl", "lerobot v3.0"), ("ogbench", "d4rl"), ("minari", "d4rl")),
    ],
)
def test_there_and_back(tmp_path: Path, first: str, second: str) -> None:
    demos = full_demos()
    if {"ogbench", "d4rl"} & {first, second}:
        demos = what_flat_files_hold(demos)
    keys = list(demos.obs_shapes)
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    once = load(write(demos, first, tmp_path / "1"), obs_keys=keys)
    twice = load(write(once, second, tmp_path / "2"), obs_keys=keys)
    for found in (once, twice):
        assert_same_source(demos, found)
        for a, b in zip(demos.episodes, found.episodes, strict=True):
            b.attrs.pop(FINAL_INFOS, None)  # what OGBench's layout adds: each info in the state after the last step
            assert_same_episode(a, b)
            assert_same_arrays(a.masks, b.masks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("out", "options", "notes"),
    [
        ("b.hdf5", (), []),
        ("b-v0", (), ["Minari has no place for filter keys (train)"]),
        ("b", ("--format", "lerobot", "--fps", "20"), []),
        ("b", ("--format", "lerobot", "--fps", "20", "--video"),
         ["LeRobot has no place for every last bit of front_image: videos are compressed"]),
        ("b.npz", ("--obs-keys", "robot"), ["OGBench's layout has no place for filter keys (train)",
         "OGBench's layout has no place for the observation's name 'robot' (it is 'observation' here)"]),
        ("b.hdf5", ("--format", "d4rl", "--obs-keys", "robot"), ["D4RL's layout has no place for filter keys (train)",
         "D4RL's layout has no place for the observation's name 'robot' (it is 'observation' here)"]),
    ],
)  # fmt: skip
def test_what_a_target_cannot_hold_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, options: tuple[str, ...], notes: list[str]
) -> None:
    """By `convert` and by `edit`, in the same words; and nothing is said where everything is kept."""
    source = save_robomimic(full_demos(), tmp_path / "a.hdf5", masks={"train": [0, 1]})
    for command, target in (("convert", tmp_path / "1" / out), ("edit", tmp_path / "2" / out)):
        target.parent.mkdir()
        assert main([command, str(source), str(target), *options]) == 0
        said = [line for line in capsys.readouterr().out.splitlines() if "has no place for" in line]
        assert len(said) == len(notes)
        assert all(note in line for note, line in zip(notes, said, strict=True)), said
        assert len(load(target)) == 2


@pytest.mark.parametrize(("out", "layout"), [("b.npz", "auto"), ("b.hdf5", "d4rl")])
def test_several_observations_do_not_go_into_a_flat_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, layout: str
) -> None:
    source = save_robomimic(full_demos(), tmp_path / "a.hdf5")
    for command in ("convert", "edit"):
        assert main([command, str(source), str(tmp_path / out), "--format", layout]) == 2
        assert "has room for one observation" in capsys.readouterr().err
    assert not (tmp_path / out).exists()
