"""OGBench's .npz files: recordings, their names, and what is wrong with some."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtql_robot import InputError, inspect, load, validate
from dtql_robot.datasets.formats.ogbench_names import dataset_name
from dtql_robot.datasets.loader import read_source
from tests.helpers.flat_files import ogbench_arrays, write_npz


def test_the_last_row_of_a_recording_is_an_observation_alone(tmp_path: Path) -> None:
    arrays = ogbench_arrays((6, 9, 5))
    demos = load(write_npz(tmp_path / "cube-single-play-v0.npz", arrays))
    assert (demos.format, demos.env_spec) == ("ogbench", "ogbench:cube-single-play-v0")
    assert [len(e) for e in demos.episodes] == [5, 8, 4]
    second = demos.episodes[1]
    np.testing.assert_array_equal(second.obs["observation"], arrays["observations"][6:14])
    np.testing.assert_array_equal(second.final_obs["observation"], arrays["observations"][14])
    np.testing.assert_array_equal(second.actions, arrays["actions"][6:14])
    np.testing.assert_array_equal(second.extras["infos/qpos"], arrays["qpos"][6:14])
    assert (second.terminated, second.truncated, second.success) == (False, True, None)
    assert second.attrs.pop("rewards_missing")
    assert second.attrs == {"final_infos": {k: arrays[k][14].tolist() for k in ("qpos", "qvel")}}


def test_the_same_transitions_as_ogbench_reads(tmp_path: Path) -> None:
    ogbench = pytest.importorskip("ogbench.utils", reason="ogbench is not installed")
    path = write_npz(tmp_path / "cube-single-play-v0.npz")
    theirs, demos = ogbench.load_dataset(str(path)), load(path)
    following = [np.vstack([e.obs["observation"][1:], e.final_obs["observation"]]) for e in demos.episodes]
    for key, ours in (
        ("observations", [e.obs["observation"] for e in demos.episodes]),
        ("actions", [e.actions for e in demos.episodes]),
        ("next_observations", following),
    ):
        np.testing.assert_array_equal(np.concatenate(ours), theirs[key])
    path = write_npz(tmp_path / "regular.npz", theirs)  # saved again with next_observations
    for a, b in zip(demos.episodes, load(path).episodes, strict=True):
        np.testing.assert_array_equal(a.obs["observation"], b.obs["observation"])
        np.testing.assert_array_equal(a.final_obs["observation"], b.final_obs["observation"])


@pytest.mark.parametrize(
    ("name", "data_set"),
    [
        ("cube-single-play-v0.npz", "cube-single-play-v0"),
        ("a/b/puzzle-3x3-noisy-v0-val.npz", "puzzle-3x3-noisy-v0"),
        ("ogbench:scene-play-singletask-task3-v0", "scene-play-singletask-task3-v0"),
        ("antmaze-medium-navigate-v0.npz", "antmaze-medium-navigate-v0"),
        ("cube-single-v0.npz", None),
        ("playing-v0.npz", None),
        ("demo.npz", None),
    ],
)
def test_names(name: str, data_set: str | None) -> None:
    assert dataset_name(name) == data_set


def test_a_file_of_another_name_names_no_environment(tmp_path: Path) -> None:
    reading = read_source(write_npz(tmp_path / "mine.npz"))
    assert reading.demos.env_spec is None
    (note,) = [n for n in reading.notes if "its environment is unknown" in n]
    (advised,) = re.findall(r"\S+\.npz", note)
    assert dataset_name(advised) == "cube-single-play-singletask-task2-v0"
    assert note.endswith("and gives it that task's rewards.")


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def replaced(path: Path, name: str, content: bytes) -> Path:
    """The archive with another member, deflated."""
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in (members | {name: content}).items():
            archive.writestr(member, data)
    return path


ROWS = 20
ONES = np.ones(ROWS, np.float32)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"terminals": None}, r"has no array 'terminals' \(only observations, actions, qpos, qvel\).*from_arrays"),
        ({"terminals": np.zeros(ROWS)}, "'terminals' is never set"),
        ({"terminals": np.eye(ROWS)[4] + np.eye(ROWS)[5]}, r"recording 1 has one row \(row 5\)"),
        ({"terminals": ONES[:9]}, "'actions' has 20 rows, 'terminals' has 9"),
        ({"actions": np.full((ROWS, 5), np.nan)}, r"episode_0: 'actions' is nan at \[0, 0\]"),
        ({"observations": np.array([object()] * ROWS)}, "'observations' holds Python objects.*expected numbers"),
        ({"qpos": np.zeros((9, 21))}, "'actions' has 20 rows, 'qpos' has 9"),
        ({"valids": ONES}, "saved by ogbench with compact_dataset=True"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    path = write_npz(tmp_path / "cube-single-play-v0.npz", **changes)
    with pytest.raises(InputError, match=sentence):
        load(path)
    assert validate(path).errors


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 28)}"), "damaged"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 28)}"), "claims float32 values of shape"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 28)}"), "damaged"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (50000000,)}", bytes(200_000_000)), "claims far more"),
        (b"nothing", "damaged"),
    ],
)
@pytest.mark.slow
def test_a_claim_is_checked_before_anything_is_allocated(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = replaced(write_npz(tmp_path / "cube-single-play-v0.npz"), "observations.npy", content)
    with pytest.raises(InputError, match=sentence):
        load(path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    path = write_npz(tmp_path / "cube-single-play-v0.npz", note=np.array([Trap()], object))
    assert inspect(path)["unread"] == {"note": "Python objects, which are never unpickled"}
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "cube-single-play-v0.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged or truncated"):
        load(path)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as other:
        other.writestr("readme.txt", "hello")
    path.write_bytes(archive.getvalue())
    with pytest.raises(InputError, match="neither NumPy arrays"):
        load(path)


def test_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folder where OGBench itself keeps its data sets."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(
        InputError, match=rf"/cube-single-play-v0-val.npz cannot be fetched.*put it at {tmp_path}/.cache/"
    ):
        load("ogbench:cube-single-play-v0-val")
    with pytest.raises(InputError, match=r"'\.\./x' is not an OGBench data set"):
        load("ogbench:../x")
    folder = tmp_path / ".ogbench" / "data"
    folder.mkdir(parents=True)
    write_npz(folder / "cube-single-play-v0-val.npz")
    demos = load("ogbench:cube-single-play-v0-val")
    assert (demos.source, demos.env_spec) == ("ogbench:cube-single-play-v0-val", "ogbench:cube-single-play-v0")
