"""A large .npz is mapped the second time, and laid out for training within twice its arrays' size."""

import tracemalloc

import pytest
import torch

from dtql_robot.config import Config
from dtql_robot.datasets import load
from dtql_robot.training.prepare import prepare
from tests.helpers.flat_files import ogbench_arrays, write_npz


@pytest.mark.slow
def test_a_file_is_laid_out_within_twice_its_arrays(tmp_path, monkeypatch):
    """What Python and NumPy allocate; pages of mapped files are the operating system's to take back."""
    monkeypatch.setenv("DTQL_ROBOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dtql_robot.datasets.cache.read_through.__defaults__", (0,))
    arrays = ogbench_arrays((1001,) * 100)
    size = sum(a.nbytes for a in arrays.values())
    path = write_npz(tmp_path / "cube-single-play-v0.npz", arrays)
    del arrays
    peaks = []
    for _ in range(2):
        tracemalloc.start()
        demos = load(path)
        _, _, buffer, _ = prepare(demos, Config(), torch.device("cpu"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(buffer) == demos.num_transitions == 100_000
        del buffer
    assert max(peaks) < 2 * size
    assert peaks[1] < size  # the second time nothing is read
