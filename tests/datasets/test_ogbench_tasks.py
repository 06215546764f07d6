"""The rewards and masks of a single OGBench task, on recordings without a task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtql_robot import InputError, load
from dtql_robot.cli import main
from dtql_robot.datasets.loader import read_source
from tests.helpers.flat_files import CUBE, ogbench_arrays, write_npz
from tests.helpers.sample_demos import assert_same_episode
from tests.training.test_interrupts import SMALL


def solved_at(steps: range, target: np.ndarray) -> dict[str, np.ndarray]:
    """One recording of 20 rows in which the cube lies at the target in these rows alone."""
    arrays = ogbench_arrays((20,))
    arrays["qpos"][:, CUBE] = target + 0.2
    arrays["qpos"][list(steps), CUBE] = target + 0.01
    return arrays


@pytest.fixture(scope="module")
def target() -> np.ndarray:
    """Where task 2 of cube-single wants the cube, from its simulator."""
    pytest.importorskip("ogbench", reason="ogbench is not installed (pip install 'dtql-robot[ogbench]')")
    import gymnasium

    env = gymnasium.make("cube-single-singletask-task2-v0", disable_env_checker=True)
    env.reset(seed=3)
    found: np.ndarray = env.unwrapped._data.mocap_pos[0].copy()  # type: ignore[attr-defined]
    env.close()
    return found


TASK = "cube-single-play-singletask-task2-v0"


@pytest.mark.slow
def test_a_solved_state_is_masked_and_the_recording_goes_on(tmp_path: Path, target: np.ndarray) -> None:
    arrays = solved_at(range(8, 12), target)
    write_npz(tmp_path / "cube-single-play-v0.npz", arrays)
    reading = read_source(tmp_path / f"{TASK}.npz")  # the recording beside it is read
    assert reading.demos.env_spec == f"ogbench:{TASK}"
    assert "4 of 19 steps begin where it is solved" in " ".join(reading.notes)
    assert "1 of 1 recordings solve it" in " ".join(reading.notes)
    (episode,) = reading.demos.episodes
    inside = np.isin(np.arange(19), range(8, 12))
    assert len(episode) == 19
    np.testing.assert_array_equal(episode.masks, ~inside)
    np.testing.assert_array_equal(episode.rewards, inside - 1.0)
    np.testing.assert_array_equal(episode.success, np.isin(np.arange(1, 20), range(8, 12)))
    assert (episode.terminated, episode.truncated) == (False, True)
    np.testing.assert_array_equal(episode.final_obs["observation"], arrays["observations"][19])


@pytest.mark.slow
def test_transitions_rewards_and_masks_are_ogbenchs_own(tmp_path: Path, target: np.ndarray) -> None:
    """In a scene with several subtasks: buttons that agree with the task's in all, some or no places."""
    import gymnasium
    from ogbench.relabel_utils import relabel_dataset
    from ogbench.utils import load_dataset

    name, rng = "puzzle-3x3-play-singletask-task4-v0", np.random.default_rng(0)
    env = gymnasium.make("puzzle-3x3-singletask-task4-v0", disable_env_checker=True)
    env.reset(seed=0)
    wanted = env.unwrapped._target_button_states  # type: ignore[attr-defined]
    arrays = ogbench_arrays((30, 20, 25))
    wrong = rng.integers(0, 2, (75, 9)) * (rng.random((75, 1)) > 0.4)
    arrays |= {"button_states": np.where(wrong, 1 - wanted, wanted), "qpos": rng.normal(size=(75, 23))}
    path = write_npz(tmp_path / "puzzle-3x3-play-v0.npz", arrays)
    theirs = load_dataset(str(path), add_info=True)
    relabel_dataset("puzzle-3x3-singletask-task4-v0", env, theirs)
    env.close()
    assert 10 < (theirs["masks"] == 0).sum() < 62
    episodes = load(tmp_path / f"{name}.npz").episodes
    assert [len(e) for e in episodes] == [29, 19, 24]
    np.testing.assert_array_equal(np.concatenate([e.rewards for e in episodes]), theirs["rewards"])
    np.testing.assert_array_equal(np.concatenate([e.masks for e in episodes]), theirs["masks"] == 1)
    np.testing.assert_array_equal(np.concatenate([e.actions for e in episodes]), theirs["actions"])
    following = [np.vstack([e.obs["observation"][1:], e.final_obs["observation"]]) for e in episodes]
    np.testing.assert_array_equal(np.concatenate(following), theirs["next_observations"])
    done = (arrays["button_states"] == wanted).all(axis=1)  # of every row's state
    np.testing.assert_array_equal([e.terminated for e in episodes], done[[29, 49, 74]])
    # What was computed from the file by ogbench itself, and saved, is the same data.
    again = load(write_npz(tmp_path / "relabelled.npz", {**theirs, "terminals": theirs["terminals"]}))
    for ours, saved in zip(episodes, again.episodes, strict=True):
        np.testing.assert_array_equal(ours.masks, saved.masks)
        np.testing.assert_array_equal(ours.rewards, saved.rewards)


@pytest.mark.parametrize(
    ("solved", "masked", "terminated"),
    [
        (range(19, 20), None, True),  # in the last row, which has no action
        (range(18, 20), [18], True),
        (range(0, 3), [0, 1, 2], False),
        (range(0), None, False),
    ],
)
@pytest.mark.slow
def test_solved_at_the_edges(
    tmp_path: Path, target: np.ndarray, solved: range, masked: list[int] | None, terminated: bool
) -> None:
    write_npz(tmp_path / "cube-single-play-v0.npz", solved_at(solved, target))
    (episode,) = load(tmp_path / f"{TASK}.npz").episodes
    assert (None if episode.masks is None else np.flatnonzero(~episode.masks).tolist()) == masked
    assert (episode.terminated, episode.ends_in_success) == (terminated, terminated)


@pytest.mark.parametrize(
    ("masks", "sentence"),
    [
        ([1, 0.5, *[1] * 18], "episode_0: 'masks' is 0.5 at step 1; expected 1 .* or 0 .*"),
        ([1] * 19, "'actions' has 20 rows, 'masks' has 19"),
        ([[1, 1]] * 20, r"'masks' has shape \(20, 2\)"),
    ],
)
def test_masks_that_are_none(tmp_path: Path, masks: list[Any], sentence: str) -> None:
    path = write_npz(tmp_path / "cube-single-play-v0.npz", ogbench_arrays((20,)), masks=np.array(masks))
    with pytest.raises(InputError, match=sentence):
        load(path)


@pytest.mark.slow
def test_written_again_it_is_the_same(tmp_path: Path, target: np.ndarray) -> None:
    """Through every format that holds masks, and as ogbench's own loader sees the file."""
    from ogbench.utils import load_dataset

    write_npz(tmp_path / "cube-single-play-v0.npz", solved_at(range(8, 12), target))
    demos = load(tmp_path / f"{TASK}.npz")
    assert main(["convert", str(tmp_path / f"{TASK}.npz"), str(tmp_path / "a.hdf5")]) == 0
    assert main(["convert", str(tmp_path / "a.hdf5"), str(tmp_path / "b-v0")]) == 0
    assert main(["convert", str(tmp_path / "b-v0"), str(tmp_path / "c.npz")]) == 0
    for name in ("a.hdf5", "b-v0", "c.npz"):
        again = load(tmp_path / name)
        assert again.env_spec == demos.env_spec
        for one, other in zip(demos.episodes, again.episodes, strict=True):
            assert_same_episode(one, other)
    theirs = load_dataset(str(tmp_path / "c.npz"), add_info=True)
    np.testing.assert_array_equal(theirs["observations"], demos.episodes[0].obs["observation"])
    np.testing.assert_array_equal(theirs["next_observations"][-1], demos.episodes[0].final_obs["observation"])


@pytest.mark.slow
def test_tasks_that_cannot_be_made(tmp_path: Path, target: np.ndarray) -> None:
    write_npz(tmp_path / "cube-single-play-v0.npz", solved_at(range(20), target))
    with pytest.raises(InputError, match=r"Every state .* solves"):
        load(tmp_path / f"{TASK}.npz")
    write_npz(tmp_path / "cube-single-play-v0.npz", qpos=None)
    with pytest.raises(InputError, match="has no 'qpos'"):
        load(tmp_path / f"{TASK}.npz")
    write_npz(tmp_path / "cube-single-play-v0.npz")
    write_npz(tmp_path / "scene-play-v0.npz")
    with pytest.raises(InputError, match=r"has shape \(20, 21\); expected \(rows, 25\)"):
        load(tmp_path / "scene-play-singletask-v0.npz")
    with pytest.raises(InputError, match="no environment 'cube-single-singletask-task9-v0' for"):
        load(tmp_path / "cube-single-play-singletask-task9-v0.npz")


def test_without_ogbench_a_task_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ogbench.relabel_utils", None)
    write_npz(tmp_path / "cube-single-play-v0.npz")
    with pytest.raises(InputError, match=r"are computed by the package ogbench: `pip install 'dtql-robot\[ogbench\]'`"):
        load(tmp_path / f"{TASK}.npz")


@pytest.mark.slow
def test_the_part_val_is_held_out(tmp_path: Path, target: np.ndarray) -> None:
    """By itself where it lies beside the recording, with a task's rewards too; or a source of the user's choice."""
    from dtql_robot.api.demonstrations import divide
    from dtql_robot.config import Config, WatchConfig

    write_npz(tmp_path / "cube-single-play-v0.npz", solved_at(range(8, 12), target))
    other = write_npz(tmp_path / "cube-single-play-v0-val.npz", ogbench_arrays((6, 9), seed=1))
    for name in ("cube-single-play-v0", TASK):
        reading = read_source(tmp_path / f"{name}.npz")
        divided = divide(reading.demos, Config(), reading)
        assert (len(divided.demos), len(divided.valid)) == (1, 2)
        assert (divided.valid.episodes[0].success is None) == (name != TASK)
    reading = read_source(other)
    assert divide(reading.demos, Config(), reading).valid is None
    plain = read_source(write_npz(tmp_path / "mine.npz", ogbench_arrays((6, 9), seed=2)))
    assert divide(plain.demos, Config(), plain).valid is None
    chosen = divide(plain.demos, Config(watch=WatchConfig(valid_data=str(other))), plain)
    assert "the 2 demonstrations of" in chosen.notes[0]
    with pytest.raises(InputError, match="is held out"):
        divide(plain.demos, Config(watch=WatchConfig(valid_data=str(tmp_path / "mine.npz"))), plain)
    with pytest.raises(InputError, match="None with valid_data"):
        WatchConfig(valid_data="x", valid_fraction=0.1)


def test_copies_tell_tasks_apart(tmp_path: Path, target: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes under two names are two data sets, from the packed copies too."""
    monkeypatch.setenv("DTQL_ROBOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dtql_robot.datasets.cache.read_through.__defaults__", (0,))
    write_npz(tmp_path / "cube-single-play-v0.npz", solved_at(range(8, 12), target))
    for _ in range(2):
        (plain,) = load(tmp_path / "cube-single-play-v0.npz").episodes
        (task,) = load(tmp_path / f"{TASK}.npz").episodes
        assert plain.masks is None
        assert np.flatnonzero(~task.masks).tolist() == [8, 9, 10, 11]
    assert len(list((tmp_path / "cache").glob("*/index.json"))) == 2


@pytest.mark.slow
def test_commands(tmp_path: Path, target: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    write_npz(tmp_path / "cube-single-play-v0.npz", solved_at(range(8, 12), target))
    plain, data = str(tmp_path / "cube-single-play-v0.npz"), str(tmp_path / f"{TASK}.npz")
    for source, out in ((data, "a.hdf5"), (plain, "a-v0")):
        assert main(["convert", source, str(tmp_path / out)]) == 0
        expected, again = load(source), load(tmp_path / out)
        assert again.env_spec == expected.env_spec
        for a, b in zip(expected.episodes, again.episodes, strict=True):
            assert_same_episode(a, b)
    assert main(["inspect", plain]) == 0
    assert "(ogbench)" in capsys.readouterr().out
    assert main(["validate", data]) == 0
    assert main(["train", "--data", data, "--out", str(tmp_path / "run"), *SMALL, "--steps", "4"]) == 0
    assert main(["eval", str(tmp_path / "run"), "--episodes", "1", "--max-episode-steps", "4"]) == 0
    assert main(["split", plain]) == 2
    assert main(["validate", plain, "--episode-length", "9"]) == 2
