"""States on disk give the same samples as states in memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from dtql_robot.cli import main
from dtql_robot.config import DataConfig
from dtql_robot.datasets import save_robomimic
from dtql_robot.errors import InputError
from dtql_robot.policy.normalize import concatenate, fit_range, fit_standard
from dtql_robot.training.buffer import ChunkBuffer, DiskChunkBuffer, choose_obs_keys, fit_normalizers, make_buffer
from dtql_robot.training.mapped_rows import memory_budget
from tests.helpers.sample_demos import make_demos


def build(memory_limit: int | None) -> ChunkBuffer:
    demos = make_demos(30)
    keys = choose_obs_keys(demos, ())
    norms = fit_normalizers(demos, keys, "standard", "range")
    cfg = DataConfig(horizon=4, n_action_steps=4, reward="success")
    return make_buffer(demos, cfg, 0.9, keys, *norms, torch.device("cpu"), memory_limit)


def test_same_samples_with_a_bound_on_memory() -> None:
    memory, disk = build(None), build(0)
    assert type(memory) is ChunkBuffer
    assert isinstance(disk, DiskChunkBuffer)
    assert disk.mapped is not None
    disk.mapped._max_resident = 100_000  # let go of everything every twenty rows or so
    first, second = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    for _ in range(20):
        for a, b in zip(memory.sample(16, first), disk.sample(16, second), strict=True):
            assert torch.equal(a, b)
    assert torch.equal(memory.actions, disk.actions)
    assert len(memory) == len(disk)


def test_scalings_are_those_of_all_rows_at_once() -> None:
    demos = make_demos(30)
    keys = choose_obs_keys(demos, ())
    obs_norm, action_norm = fit_normalizers(demos, keys, "standard", "range")
    rows = np.concatenate([concatenate(e.obs, keys) for e in demos.episodes])
    expected = fit_standard(rows)
    np.testing.assert_allclose(obs_norm.shift, expected.shift, rtol=1e-6)
    np.testing.assert_allclose(obs_norm.scale, expected.scale, rtol=1e-6)
    actions = fit_range(np.concatenate([e.actions for e in demos.episodes]))
    np.testing.assert_array_equal(action_norm.shift, actions.shift)
    np.testing.assert_array_equal(action_norm.scale, actions.scale)


def test_memory_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_budget(torch.device("cpu")) > 2**20
    monkeypatch.setenv("DTQL_ROBOT_MEMORY_GB", "0.000001")
    assert isinstance(build(None), DiskChunkBuffer)
    monkeypatch.setenv("DTQL_ROBOT_MEMORY_GB", "much")
    with pytest.raises(InputError, match="a number of gigabytes"):
        build(None)


@pytest.mark.slow
def test_training_from_disk_is_the_same_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = save_robomimic(dataclasses.replace(make_demos(12), env_spec=None), tmp_path / "f.hdf5")
    metrics = []
    for name, limit in (("memory", "1"), ("disk", "0.0000001")):
        monkeypatch.setenv("DTQL_ROBOT_MEMORY_GB", limit)
        options = ["--steps", "3", "--log-every", "1", "--batch-size", "8", "--device", "cpu"]
        assert main(["train", "--data", str(data), "--out", str(tmp_path / name), *options]) == 0
        rows = (tmp_path / name / "metrics.csv").read_text().splitlines()
        seconds = rows[0].split(",").index("seconds")
        metrics.append([[cell for i, cell in enumerate(row.split(",")) if i != seconds] for row in rows])
    assert len(metrics[0]) == 4
    assert metrics[0] == metrics[1]
