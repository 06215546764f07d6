"""Everything that is no dataset ends in one sentence."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.datasets import load, save_robomimic
from dtql_robot.errors import InputError
from tests.helpers.sample_demos import make_demos


def test_paths_that_hold_no_data(tmp_path: Path) -> None:
    (tmp_path / "empty.hdf5").touch()
    (tmp_path / "text.hdf5").write_text("hello")
    (tmp_path / "lfs.hdf5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    (tmp_path / "data.pkl").write_bytes(pickle.dumps({"observations": [1]}))
    (tmp_path / "page.hdf5").write_text("<!DOCTYPE html>")
    cases = {
        "arrays.npz": r"has no array 'observations' \(only a\)",
        "data.pkl": "Python pickle; write its contents as robomimic HDF5",
        "page.hdf5": "a web page or XML; the download went wrong",
        "missing.hdf5": "no such file",
        "empty.hdf5": "is empty",
        "text.hdf5": "is not an HDF5 file .it starts with b'hello'",
        "lfs.hdf5": "Git LFS pointer.*git lfs pull",
        "folder": "is a folder without a Minari dataset",
        "pipe": "is not a regular file",
        ".": r"Name one of its files: empty\.hdf5, lfs\.hdf5, page\.hdf5, text\.hdf5",
        "x" * 300: "cannot be opened",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            load(tmp_path / name)
    for text, message in {"": "path is empty", " ": "path is empty", "a\0b": "NUL"}.items():
        with pytest.raises(InputError, match=message):
            load(text)


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_robomimic(make_demos(2), "~/f.hdf5")
    assert len(load("~/f.hdf5")) == 2


def test_unreadable_file(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(1), tmp_path / "f.hdf5")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InputError, match="cannot be opened: Permission denied"):
        load(path)


def test_truncated_file(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(), tmp_path / "f.hdf5")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"f\.hdf5 cannot be read \(HDF5 says: .*truncated file.*fetch it again"):
        load(path)


def test_unknown_layouts_say_what_is_there(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file["joints"] = 1
        file["torques"] = 2
    with pytest.raises(InputError, match=r"its top level holds 'joints', 'torques'\. Supported layouts: robomimic"):
        load(tmp_path / "f.hdf5")
    h5py.File(tmp_path / "g.hdf5", "w").close()
    with pytest.raises(InputError, match="it contains nothing"):
        load(tmp_path / "g.hdf5")


def test_no_demonstrations(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file.create_group("data")
    with pytest.raises(InputError, match="contains no demonstrations"):
        load(tmp_path / "f.hdf5")
    with h5py.File(tmp_path / "g.hdf5", "w") as file:
        file["data"] = np.ones(3)
    with pytest.raises(InputError, match=r"data in g\.hdf5 is an array; expected a group"):
        load(tmp_path / "g.hdf5")


def test_links_into_other_files_are_not_followed(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    other = save_robomimic(make_demos(2), tmp_path / "other.hdf5")
    with h5py.File(path, "a") as file:
        del file["data/demo_1/rewards"]
        file["data/demo_1/rewards"] = h5py.ExternalLink(str(other), "data/demo_1/rewards")
    with pytest.raises(InputError, match=r"data/demo_1/rewards in f\.hdf5 is a link into another file"):
        load(path)


def test_values_kept_in_other_files_are_not_followed(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    (tmp_path / "raw").write_bytes(np.zeros(6).tobytes())
    with h5py.File(path, "a") as file:
        del file["data/demo_1/rewards"]
        file["data/demo_1"].create_dataset("rewards", (6,), float, external=[(str(tmp_path / "raw"), 0, 48)])
    with pytest.raises(InputError, match="keeps its values in another file"):
        load(path)


def test_dangling_and_circular_links_end(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        file["data/demo_1/obs/loop"] = file["data/demo_1/obs"]
        file["data/demo_0/obs/loop"] = file["data/demo_0/obs"]
    with pytest.raises(InputError, match="is stored under two names, perhaps in a circle"):
        load(path)
    with h5py.File(path, "a") as file:
        for demo in ("demo_0", "demo_1"):
            del file[f"data/{demo}/obs/loop"]
        file["data/demo_1/gone"] = h5py.SoftLink("/nowhere")
    with pytest.raises(InputError, match=r"data/demo_1/gone in f\.hdf5 cannot be read"):
        load(path)


def test_shapes_beyond_the_file_are_refused(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(1), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        del file["data/demo_0/rewards"]
        file["data/demo_0"].create_dataset("rewards", (2**45,), np.float32, chunks=(1024,))
    with pytest.raises(InputError, match=r"claims shape \(35184372088832,\), 140737488355328 bytes, but 0 are stored"):
        load(path)


def d4rl_file(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"], file["rewards"] = np.ones((9, 3)), np.eye(9)[:, :2] / 2, np.arange(9.0)
        file["terminals"] = file["timeouts"] = np.eye(9, dtype=bool)[-1]
        file["metadata/algorithm"] = "SAC"
    return path


def test_a_text_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = d4rl_file(tmp_path / "f.hdf5")
    assert load(path).attrs == {"metadata": {"algorithm": "SAC"}}
    with h5py.File(path, "a") as file:
        file["metadata"].create_dataset("policy", (), "S1000000000")
    assert path.stat().st_size < 2**16
    with pytest.raises(InputError, match=r"metadata/policy in f.hdf5 claims shape \(\), 1000000000 bytes, but 0 are"):
        load(path)


def test_one_text_under_many_names_counts_each_time(tmp_path: Path) -> None:
    path = d4rl_file(tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        file["metadata/algorithm"][()] = "S" * 2**20
        for index in range(60):
            file[f"metadata/other_{index}"] = file["metadata/algorithm"]
    with pytest.raises(InputError, match="claims far more values than its"):
        load(path)


def test_text_storage_on_which_the_library_would_not_stop(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(1), tmp_path / "f.hdf5")
    content = bytearray(path.read_bytes())
    start = content.index(b"GCOL")
    content[start + 16 : start + 32] = bytes(16)  # a free object of size 0
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"its text storage at byte {start} is malformed"):
        load(path)


def test_values_that_look_like_text_storage_are_no_harm(tmp_path: Path) -> None:
    signature = np.frombuffer(b"GCOL\x01\0\0\1" * 16, np.uint8).reshape(1, -1)
    demos = make_demos(1, extras={"states": np.repeat(signature, 5, axis=0)})
    path = save_robomimic(demos, tmp_path / "f.hdf5")
    np.testing.assert_array_equal(load(path).episodes[0].extras["states"], demos.episodes[0].extras["states"])
