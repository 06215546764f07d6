"""Writing where the disk takes only a part: an error that says so, nothing under the file's name, no word of HDF5's."""

import gc
import resource
import shutil
from collections import namedtuple
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from dtql_robot.datasets import load, save_minari, save_robomimic
from dtql_robot.datasets.split import write_masks
from dtql_robot.errors import InputError


@contextmanager
def room_for(size):
    """No file may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 3000, 20_000])
def test_a_robomimic_file_that_does_not_fit(size, demos, tmp_path, capfd):
    with room_for(size), pytest.raises(InputError, match="cannot be written: File too large"):
        save_robomimic(demos, tmp_path / "demos.hdf5")
    gc.collect()
    assert not list(tmp_path.iterdir())
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("more", [0, 1000, 2500])
def test_masks_that_do_not_fit_leave_the_file_as_it_was(more, demos, tmp_path, capfd):
    path = save_robomimic(demos, tmp_path / "demos.hdf5")
    before = path.read_bytes()
    with room_for(len(before) + more), pytest.raises(InputError, match="cannot be written: File too large"):
        write_masks(path, {f"key{i}": [f"demo_{j}" for j in range(6)] for i in range(60)})
    gc.collect()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_of_the_writers_own_stays_what_it_is(demos, tmp_path):
    with pytest.raises(InputError, match="names episode 99"):
        save_robomimic(demos, tmp_path / "demos.hdf5", masks={"train": [99]})


def test_a_minari_folder_that_does_not_fit(demos, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 4096, 4096))
    with pytest.raises(InputError, match="cannot be written: No space left"):
        save_minari(demos, tmp_path / "made-v0")
    assert not list(tmp_path.iterdir())


def test_minaris_size_is_judged_about_right(demos, tmp_path):
    from dtql_robot.datasets.formats.minari_write import _size

    folder = save_minari(demos, tmp_path / "made-v0")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert 0.5 * size < _size(demos) < 2 * size


def test_a_large_file_is_the_same_as_hdf5_writes_itself(demos, tmp_path):
    path = save_robomimic(demos, tmp_path / "demos.hdf5")
    with h5py.File(path) as file:  # opened by its name, not through Python
        assert file.driver == "sec2"
        assert np.array_equal(file["data/demo_3/actions"], demos.episodes[3].actions)
    assert len(load(path).episodes) == 6
