"""Zarr stores of Diffusion Policy, written by the package zarr itself."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtql_robot import InputError, inspect, load, validate
from dtql_robot.cli import main
from dtql_robot.datasets.formats.zarr_chunks import ChunkError, decode
from dtql_robot.datasets.loader import read_source
from tests.helpers.flat_files import write_zarr, zarr_arrays
from tests.helpers.sample_demos import assert_same_episode
from tests.training.test_interrupts import SMALL

numcodecs = pytest.importorskip("numcodecs", reason="numcodecs is not installed (pip install 'dtql-robot[zarr]')")
pytest.importorskip("zarr", reason="needs Python 3.11, for the package zarr that writes the files")

COMPRESSORS = {
    "blosc": numcodecs.Blosc("zstd", 5, numcodecs.Blosc.BITSHUFFLE),
    "zstd": numcodecs.Zstd(3),
    "lz4": numcodecs.LZ4(),
    "zlib": numcodecs.Zlib(),
    "gzip": numcodecs.GZip(),
    "bz2": numcodecs.BZ2(),
    "none": None,
}


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])
def test_every_array_comes_back(tmp_path: Path, compressor: str, name: str) -> None:
    arrays = zarr_arrays((6, 9, 5))
    path = write_zarr(tmp_path / name, arrays, COMPRESSORS[compressor])
    demos = load(path, obs_keys=["state", "img"])
    assert (demos.format, demos.env_spec, [len(e) for e in demos.episodes]) == ("zarr", None, [6, 9, 5])
    for key, column in (("state", "data/state"), ("img", "data/img")):
        np.testing.assert_array_equal(np.concatenate([e.obs[key] for e in demos.episodes]), arrays[column])
    np.testing.assert_array_equal(np.concatenate([e.actions for e in demos.episodes]), arrays["data/action"])
    second = demos.episodes[1]
    np.testing.assert_array_equal(second.extras["timestamp"], arrays["data/timestamp"][6:15])
    assert (second.terminated, second.truncated, second.success, second.final_obs) == (False, True, None, None)
    assert second.attrs == {"rewards_missing": True}
    assert second.obs["img"].dtype == np.uint8


@pytest.mark.parametrize("options", [{"order": "F"}, {"fill_value": 7}])
def test_other_ways_to_store_the_same(tmp_path: Path, options: dict[str, Any]) -> None:
    arrays = zarr_arrays()
    arrays["data/state"][4:8] = options.get("fill_value", 0)  # a chunk that zarr does not write
    path = write_zarr(tmp_path / "a.zarr", arrays, **options)
    reading = read_source(path)
    np.testing.assert_array_equal(
        np.concatenate([e.obs["state"] for e in reading.demos.episodes]), arrays["data/state"]
    )
    said = "2 of 10 chunks of 'data/state' are not stored and count as 7"
    assert (said in " ".join(reading.notes)) == ("fill_value" in options)


def test_images_are_loaded_by_name_alone_and_recorders_notes_are_no_observations(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", zarr_arrays() | {"data/stage": np.zeros(20, np.int64)})
    reading = read_source(path)
    assert list(reading.demos.obs_shapes) == ["state"]
    assert reading.left_out == {"img": "uint8 (12, 12, 3)"}
    assert sorted(reading.demos.episodes[0].extras) == ["stage", "timestamp"]


def test_rewards_and_success(tmp_path: Path) -> None:
    rows = np.arange(20)
    more = {"data/reward": rows.astype(np.float32), "data/success": np.isin(rows, [5, 19])}
    demos = load(write_zarr(tmp_path / "a.zarr", zarr_arrays() | more))
    first, second, third = demos.episodes
    assert first.rewards.tolist() == [0, 1, 2, 3, 4, 5]
    assert [e.terminated for e in (first, second, third)] == [True, False, True]
    assert (first.ends_in_success, second.succeeds, third.ends_in_success) == (True, False, True)


def test_an_archive_with_the_store_in_a_folder(tmp_path: Path) -> None:
    write_zarr(tmp_path / "in" / "pusht.zarr")
    packed = shutil.make_archive(str(tmp_path / "pusht"), "zip", tmp_path / "in")
    assert len(load(packed)) == 3
    write_zarr(tmp_path / "in" / "other.zarr")
    packed = shutil.make_archive(str(tmp_path / "two"), "zip", tmp_path / "in")
    with pytest.raises(InputError, match="holds 2 Zarr stores"):
        load(packed)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data/action": None}, r"has no 'data/action' \(it holds .*; expected a Zarr store of Diffusion Policy"),
        ({"meta/episode_ends": None}, "has no 'meta/episode_ends'"),
        ({"meta/episode_ends": np.array([6, 6, 20])}, "ends episode 1 at row 6, after 0 steps"),
        ({"meta/episode_ends": np.array([6, 15, 21])}, r"shape \(20, 2\); expected 21 rows"),
        ({"meta/episode_ends": np.array([6.0, 20.0])}, "expected one whole number per episode"),
        ({"data/state": np.full((20, 5), np.inf)}, r"episode_0: 'state' is inf at \[0, 0\]"),
        ({"data/state": np.ones((19, 5))}, r"'data/state' of a.zarr has shape \(19, 5\)"),
        ({"data/action": np.full((20, 2), 5)}, "categories or switches"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    arrays = {k: v for k, v in (zarr_arrays() | changes).items() if v is not None}
    path = write_zarr(tmp_path / "a.zarr", arrays)
    with pytest.raises(InputError, match=sentence):
        load(path)
    assert validate(path).errors


def edited(path: Path, array: str, **changes: Any) -> Path:
    record = path / array / ".zarray"
    record.write_text(json.dumps(json.loads(record.read_text()) | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape": [20, 10**12]}, "claims far more values"),
        ({"chunks": [2**30, 5]}, "claims far more values"),
        ({"chunks": [4, 3]}, "is damaged: it claims"),
        ({"shape": [20, "5"]}, "does not describe a Zarr version 2 array"),
        ({"shape": [-20, 5]}, "does not describe a Zarr version 2 array"),
        ({"chunks": [0, 5]}, "does not describe a Zarr version 2 array"),
        ({"compressor": {"id": "pickle"}}, "is compressed with pickle; .* are read"),
        ({"filters": [{"id": "pickle"}]}, "is filtered"),
        ({"fill_value": [1, 2]}, "is damaged"),
        ({"zarr_format": 3}, "does not describe a Zarr version 2 array"),
    ],
)
def test_a_record_is_checked_before_anything_is_allocated(tmp_path: Path, changes: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load(edited(write_zarr(tmp_path / "a.zarr"), "data/state", **changes))


def test_python_objects_are_left_out(tmp_path: Path) -> None:
    found = inspect(edited(write_zarr(tmp_path / "a.zarr"), "data/state", dtype="|O"))
    assert "state" not in found["obs"]
    assert "object" in found["left_out"]["state"]


@pytest.mark.parametrize("name", [n for n in COMPRESSORS if n != "none"])
def test_a_chunk_never_unpacks_to_more_than_it_should(name: str) -> None:
    bomb = bytes(COMPRESSORS[name].encode(np.zeros(10**7, np.uint8)))
    codec = {"id": name}
    with pytest.raises(ChunkError, match=r"instead of 80"):
        decode(bomb, codec, 80)
    for damaged in (b"", bomb[:3], bomb[:-5], b"x" * 40):
        with pytest.raises(ChunkError):
            decode(damaged, codec, 10**7)


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr")
    chunk = path / "data" / "state" / "1.0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"data/state/1\.0 in .*a\.zarr is damaged"):
        load(path)


def test_missing_chunks_without_a_fill_value_are_an_error(tmp_path: Path) -> None:
    path = edited(write_zarr(tmp_path / "a.zarr"), "data/action", fill_value=None)
    (path / "data" / "action" / "1.0").unlink()
    with pytest.raises(InputError, match=r"1 chunks of data/action .* are missing"):
        load(path)


def test_links_lead_nowhere(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr")
    (tmp_path / "link.zarr").symlink_to(path)  # the user's own choice
    assert len(load(tmp_path / "link.zarr")) == 3
    chunk = path / "data" / "state" / "1.0"
    chunk.rename(tmp_path / "outside")
    chunk.symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="is a link or not a regular file"):
        load(path)
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(InputError, match="is a link or not a regular file"):
        load(path)


def test_version_3_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"version 3; expected version 2.*. Write it with zarr_format=2"):
        load(write_zarr(tmp_path / "a.zarr", zarr_format=3))


def test_without_numcodecs_compression_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = write_zarr(tmp_path / "a.zarr", compressor=COMPRESSORS["blosc"])
    plain = write_zarr(tmp_path / "b.zarr", compressor=COMPRESSORS["zlib"])
    monkeypatch.setitem(sys.modules, "numcodecs", None)
    with pytest.raises(InputError, match=r"needs numcodecs: `pip install 'dtql-robot\[zarr\]'`"):
        load(packed)
    assert len(load(plain)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])
def test_commands(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(write_zarr(tmp_path / name))
    expected = load(data, obs_keys=["img", "state"])
    for out in ("a.hdf5", "a-v0"):
        assert main(["convert", data, str(tmp_path / out)]) == 0
        for a, b in zip(expected.episodes, load(tmp_path / out, obs_keys=["img", "state"]).episodes, strict=True):
            assert_same_episode(a, b)
    assert inspect(data)["episodes"] == 3
    assert main(["inspect", data]) == 0
    assert "(zarr)" in capsys.readouterr().out
    assert main(["validate", data]) == 0
    assert main(["train", "--data", data, "--out", str(tmp_path / "run"), *SMALL, "--steps", "4"]) == 0
    assert main(["split", data]) == 2
    assert main(["inspect", data, "--tree"]) == 2
