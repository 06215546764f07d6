"""A second load comes from a packed copy with the same content, and only then."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from dtql_robot.datasets import cache, load, save_minari, save_robomimic
from dtql_robot.datasets.formats import hdf5_heap as heap_check
from dtql_robot.datasets.loader import read_source
from dtql_robot.errors import InputError
from dtql_robot.system import remembered as content_memo
from dtql_robot.system.remembered import remembered
from dtql_robot.training.mapped_rows import allocate_rows
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import assert_same_episode, assert_same_source, demonstrations, make_demos


@pytest.fixture
def small_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own that takes files of any size."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DTQL_ROBOT_CACHE", str(folder))
    monkeypatch.setattr(cache.read_through, "__defaults__", (0,))
    return folder


def copies(folder: Path) -> int:
    return len(list(folder.glob("*/index.json")))


@pytest.mark.slow
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(demos=demonstrations())
def test_what_is_mapped_equals_what_was_written(tmp_path: Path, small_cache: Path, demos: Demonstrations) -> None:
    path = save_robomimic(demos, tmp_path / "f.hdf5", overwrite=True)
    for _ in range(2):
        again = load(path, obs_keys=list(demos.obs_shapes))
        assert (again.source, again.format) == (str(path), "robomimic")
        assert_same_source(demos, again)
        for before, after in zip(demos.episodes, again.episodes, strict=True):
            assert_same_episode(before, after)


def test_content_decides_not_name_or_time(tmp_path: Path, small_cache: Path) -> None:
    path = save_robomimic(make_demos(3), tmp_path / "f.hdf5", masks={"train": [0]})
    stamp = path.stat()
    first = load(path).episodes[0].actions.copy()
    assert copies(small_cache) == 1
    with h5py.File(path, "a") as file:
        file["data/demo_0/actions"][0, 0] = 0.125
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert path.stat().st_size == stamp.st_size
    second = load(path).episodes[0].actions
    assert second[0, 0] == np.float32(0.125) != first[0, 0]
    os.rename(path, tmp_path / "other.hdf5")
    assert copies(small_cache) == 2
    reading = read_source(tmp_path / "other.hdf5")
    assert copies(small_cache) == 2
    assert (reading.demos.source, reading.filter_keys) == (str(tmp_path / "other.hdf5"), {"train": ["demo_0"]})
    assert len(load(tmp_path / "other.hdf5", filter_key="train")) == 1
    assert copies(small_cache) == 3


def test_writing_to_a_loaded_array_changes_no_copy(tmp_path: Path, small_cache: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    load(path)
    load(path).episodes[0].actions[:] = 7
    assert load(path).episodes[0].actions.max() <= 1


def test_damaged_copies_are_made_anew(tmp_path: Path, small_cache: Path) -> None:
    demos = make_demos(2)
    path = save_robomimic(demos, tmp_path / "f.hdf5")
    load(path)
    (folder,) = [p.parent for p in small_cache.glob("*/index.json")]
    for damage in (lambda: (folder / "0.bin").write_bytes(b"short"), lambda: (folder / "index.json").write_text("{")):
        damage()
        assert_same_episode(load(path).episodes[1], demos.episodes[1])


def test_oldest_copies_go_first(tmp_path: Path, small_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTQL_ROBOT_CACHE_GB", "0.000002")
    for i in range(4):
        load(save_robomimic(make_demos(3, attrs={"seed": i}), tmp_path / f"{i}.hdf5"))
    assert copies(small_cache) == 1


@pytest.mark.parametrize("damage", ["zeros", "bit", "index", "swapped"])
@pytest.mark.slow
def test_a_copy_that_was_changed_is_never_read(tmp_path: Path, small_cache: Path, damage: str) -> None:
    demos = make_demos(40)
    path = save_robomimic(demos, tmp_path / "f.hdf5")
    load(path)
    (folder,) = [p.parent for p in small_cache.glob("*/index.json")]
    content_memo._IN_PROCESS.clear()  # as another process would find it
    time.sleep(0.02)  # clocks of file systems tick every few milliseconds
    for file in sorted(folder.glob("*.bin")) if damage != "index" else [folder / "index.json"]:
        content = bytearray(file.read_bytes())
        if damage == "zeros":
            content[: len(content) // 2] = bytes(len(content) // 2)
        elif damage == "bit":
            content[-1] ^= 1
        elif damage == "swapped":
            content = content[::-1]
        else:
            content = bytearray(content.replace(b'"terminated": true', b'"terminated": null'))
        with file.open("r+b") as stream:  # in place: the same size and inode
            stream.write(content)
    for before, after in zip(demos.episodes, load(path).episodes, strict=True):
        assert_same_episode(before, after)
    assert copies(small_cache) == 1


@pytest.mark.parametrize("where", ["below a file", "read-only", "full", "full while packing", "no inodes"])
def test_without_room_for_a_copy_the_file_itself_is_read(
    tmp_path: Path, small_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    demos = make_demos(40)
    path = save_robomimic(demos, tmp_path / "f.hdf5")
    if where == "below a file":
        monkeypatch.setenv("DTQL_ROBOT_CACHE", str(path / "below a file"))
    elif where == "read-only":
        monkeypatch.setattr(cache.os, "access", lambda *_: False)
    elif where == "full":
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))
    elif where == "full while packing":
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        monkeypatch.setattr(cache, "_check_room", lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard)))
    else:
        monkeypatch.setattr(cache, "new_folder", no_inodes)
    try:
        found = load(path)
    finally:
        if where == "full while packing":
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    monkeypatch.undo()
    assert_same_episode(found.episodes[1], demos.episodes[1])
    told = capsys.readouterr().err
    assert "note: f.hdf5 is read without a copy" in told
    assert "DTQL_ROBOT_CACHE=off" in told
    assert copies(small_cache) == 0


@contextmanager
def no_inodes(folder: Path, *_: object, **__: object) -> Iterator[Path]:
    raise InputError(f"{folder} cannot be written: no space left.")
    yield folder


def test_a_bad_file_is_refused_with_a_cache_too(tmp_path: Path, small_cache: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        file["data/demo_1/actions"][0, 0] = np.nan
    with pytest.raises(InputError, match="demo_1: 'actions' is nan"):
        load(path)
    assert copies(small_cache) == 0


@pytest.mark.slow
def test_no_home_is_no_reason_to_fail(tmp_path: Path) -> None:
    """As under a user id that the system does not know, which containers and clusters have."""
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    code = (
        "import pathlib; pathlib.Path.home = classmethod(lambda c: (_ for _ in ()).throw(RuntimeError('no home')));"
        "from dtql_robot.datasets import cache, load; cache.read_through.__defaults__ = (0,);"
        f"print(len(load({str(path)!r})))"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "DTQL_ROBOT_CACHE")}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (found.stdout, found.returncode) == ("2\n", 0), found.stderr


def test_settings_that_make_no_sense(tmp_path: Path, small_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    monkeypatch.setenv("DTQL_ROBOT_CACHE", str(path / "below a file"))
    with pytest.raises(InputError, match="Set DTQL_ROBOT_CACHE to a folder on a larger disk"):
        allocate_rows(10, 10, np.float32, torch.device("cpu"), memory_limit=0)
    monkeypatch.setenv("DTQL_ROBOT_CACHE", "~nosuchuser/copies")
    with pytest.raises(InputError, match="no such home folder"):
        load(path)
    with pytest.raises(InputError, match="home folder that does not exist"):
        load("~nosuchuser/f.hdf5")
    monkeypatch.setenv("DTQL_ROBOT_CACHE", str(small_cache))
    for limit in ("much", "nan", "-1"):
        monkeypatch.setenv("DTQL_ROBOT_CACHE_GB", limit)
        with pytest.raises(InputError, match=f"DTQL_ROBOT_CACHE_GB is '{limit}'; expected a number of gigabytes"):
            load(path)


def test_off_and_minari_metadata(tmp_path: Path, small_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_minari(make_demos(2), tmp_path / "x-v0")
    assert load(folder).env_spec == load(folder).env_spec == "robosuite:Lift"
    metadata = folder / "data/metadata.json"
    metadata.write_text(metadata.read_text().replace("robosuite:Lift", "robosuite:Stack"))
    assert load(folder).env_spec == "robosuite:Stack"
    count = copies(small_cache)
    monkeypatch.setenv("DTQL_ROBOT_CACHE", "off")
    path = save_robomimic(make_demos(1), tmp_path / "f.hdf5")
    load(path)
    assert copies(small_cache) == count


def test_what_is_remembered_of_a_file_ends_with_a_change(tmp_path: Path, small_cache: Path) -> None:
    path = tmp_path / "f.bin"
    asked = []

    def answer(file: Path) -> str:
        asked.append(1)
        return str(file.read_bytes()[0])

    path.write_bytes(b"\x01")
    stamp = path.stat()
    assert remembered(path, "first byte", answer) == remembered(path, "first byte", answer) == "1"
    assert len(asked) == 1
    path.write_bytes(b"\x02")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert remembered(path, "first byte", answer) == "2"
    assert len(asked) == 2
    content_memo._IN_PROCESS.clear()  # as another process would find it
    assert remembered(path, "first byte", answer) == "2"
    assert len(asked) == 2


def test_large_files_are_guarded_too(tmp_path: Path, small_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap_check, "_LARGE", 1)
    path = save_robomimic(make_demos(2, attrs={"note": "x"}), tmp_path / "f.hdf5")
    assert len(load(path)) == 2
    content = bytearray(path.read_bytes())
    start = content.find(b"GCOL\x01")
    if start < 0:
        pytest.skip("this version of HDF5 wrote no global heap")
    content[start + 16 : start + 32] = bytes(16)  # a free object of size 0: an endless loop for the library
    path.write_bytes(content)
    with pytest.raises(InputError, match="text storage"):
        load(path)
