"""When rewards of 0 and 1 mean success, and that the user reads what was inferred."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import save_robomimic
from dtql_robot.datasets.loader import read_source
from dtql_robot.types import Array
from tests.helpers.sample_demos import make_demos, make_episode

STEPS = 30
Rewards = Callable[[int], Array]
ALIVE: dict[str, Rewards] = {
    "every step": lambda i: np.ones(STEPS),
    "until it falls": lambda i: np.r_[np.ones(STEPS - 1), 0],
    "from the second step": lambda i: np.r_[0, np.ones(STEPS - 1)],
    "nine steps in ten": lambda i: (np.arange(STEPS) % 10 > 0).astype(float),
    "most episodes": lambda i: np.ones(STEPS) if i % 4 else np.zeros(STEPS),
}
SPARSE: dict[str, Rewards] = {
    "last step": lambda i: np.arange(STEPS) == STEPS - 1,
    "goes on after success": lambda i: np.arange(STEPS) > 8,
    "some fail": lambda i: (np.arange(STEPS) > 25) & bool(i % 3),
    "one begins at the goal": lambda i: np.ones(STEPS) if i == 3 else np.arange(STEPS) > 20,
}
OTHER: dict[str, Rewards] = {
    "constant half": lambda i: np.full(STEPS, 0.5),
    "constant cost": lambda i: np.full(STEPS, -1.0),
    "cost until done": lambda i: (np.arange(STEPS) > 20) - 1.0,
    "two a step": lambda i: np.full(STEPS, 2.0),
    "nothing": lambda i: np.zeros(STEPS),
}


def written(path: Path, rewards: Rewards) -> Path:
    """A file without any success but what its rewards say."""
    rng = np.random.default_rng(0)
    episodes = tuple(
        make_episode(rng, f"demo_{i}", STEPS, success=None, rewards=np.asarray(rewards(i), np.float32))
        for i in range(8)
    )
    save_robomimic(replace(make_demos(1), episodes=episodes, env_spec=None), path)
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            for key in ("has_success", "terminated", "truncated"):
                demo.attrs.pop(key, None)
    return path


@pytest.mark.parametrize("kind", [*ALIVE, *OTHER])
def test_no_success(tmp_path: Path, kind: str) -> None:
    reading = read_source(written(tmp_path / "f.hdf5", (ALIVE | OTHER)[kind]))
    assert all(e.success is None for e in reading.demos.episodes)
    assert any("a reward of 1 is not taken for success" in note for note in reading.notes) == (kind in ALIVE)


@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_rewards_are_success(tmp_path: Path, kind: str) -> None:
    reading = read_source(written(tmp_path / "f.hdf5", SPARSE[kind]))
    for i, e in enumerate(reading.demos.episodes):
        assert e.success is not None
        np.testing.assert_array_equal(e.success, SPARSE[kind](i))
    assert "success is read from the rewards (all are 0 or 1; 1 is success)." in reading.notes


def test_validate_and_train_say_what_was_inferred(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alive = written(tmp_path / "alive.hdf5", ALIVE["until it falls"])
    assert main(["validate", str(alive)]) == 0
    printed = capsys.readouterr().out
    assert "note: a reward of 1 is not taken for success: it is 1 from the first step in 8 of 8 episodes" in printed
    assert "there is no success signal" in printed
    sparse = written(tmp_path / "sparse.hdf5", SPARSE["last step"])
    options = ["--steps", "1", "--batch-size", "4", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(["train", "--data", str(sparse), *options]) == 0
    assert "note: success is read from the rewards" in capsys.readouterr().err
