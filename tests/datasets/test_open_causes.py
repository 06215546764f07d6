"""Why a sound file cannot be opened or read, and what to do about it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_robomimic
from dtql_robot.datasets.formats import hdf5_open
from dtql_robot.errors import InputError
from tests.helpers.sample_demos import make_demos

RECORDER = """
import os, sys, h5py, numpy as np
file = h5py.File(sys.argv[1], "w", libver="latest")
for i in range(3):
    demo = file.create_group(f"data/demo_{i}")
    demo["actions"], demo["obs/x"] = np.ones((9, 2)) * i, np.ones((9, 4)) * i
    demo["rewards"] = np.eye(9)[-1]
file.flush()
print("ready", flush=True)
if sys.argv[2] == "killed":
    os._exit(9)
sys.stdin.readline()
file.close()
"""


def test_open_in_another_program(tmp_path: Path) -> None:
    path = tmp_path / "f.hdf5"
    with subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(path), "waits"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as recorder:
        assert recorder.stdout is not None
        assert recorder.stdout.readline() == "ready\n"
        with pytest.raises(InputError, match=r"f\.hdf5 is open for writing in another program.*Close it there"):
            load(path)
        recorder.communicate("\n")
    assert len(load(path)) == 3


def test_recorder_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "f.hdf5"
    subprocess.run([sys.executable, "-c", RECORDER, str(path), "killed"], capture_output=True, check=False)
    with pytest.raises(InputError, match=r"was not closed.*`h5clear -s .*f\.hdf5`"):
        load(path)
    if shutil.which("h5clear"):
        subprocess.run(["h5clear", "-s", str(path)], check=True)
        assert len(load(path)) == 3


@pytest.mark.parametrize(("number", "text"), [(37, "No locks available"), (38, "Function not implemented")])
def test_file_systems_without_locks(
    tmp_path: Path, number: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_robomimic(make_demos(1), tmp_path / "f.hdf5")

    def refuse(*_: object) -> None:
        raise BlockingIOError(
            f"Unable to synchronously open file (unable to lock file, errno = {number}, error message = '{text}')"
        )

    monkeypatch.setattr(hdf5_open.h5py, "File", refuse)
    assert main(["inspect", str(path)]) == 2
    assert "cannot be locked: its file system, perhaps NFS, offers no locks. Set HDF5_USE_FILE_LOCKING=FALSE" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("code", "name"), [(32001, "blosc"), (32015, "zstd"), (41234, "number 41234")])
def test_compression_by_plugins(tmp_path: Path, code: int, name: str) -> None:
    if h5py.h5z.filter_avail(code):
        pytest.skip("HDF5 reads it here")
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        del file["data/demo_1/actions"]
        stored = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        stored.set_chunk((6, 2))
        stored.set_filter(code, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((6, 2))
        kept = h5py.h5d.create(file["data/demo_1"].id, b"actions", h5py.h5t.IEEE_F32LE, space, stored)
        kept.write_direct_chunk((0, 0), np.ones((6, 2), "f4").tobytes())
    with pytest.raises(InputError, match=rf"data/demo_1/actions in f\.hdf5 is compressed with {name}.*hdf5plugin"):
        load(path)


def test_soft_links_do_not_leave_the_file(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    save_robomimic(make_demos(2), tmp_path / "secret.hdf5")
    with h5py.File(path, "a") as file:
        file["out"] = h5py.ExternalLink("secret.hdf5", "/")
        del file["data/demo_1/actions"]
        file["data/demo_1/actions"] = h5py.SoftLink("/out/data/demo_1/actions")
    with pytest.raises(InputError, match=r"data/demo_1/actions in f\.hdf5 is a link into another file"):
        load(path)


def test_soft_links_within_the_file_are_followed(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    expected = load(path).episodes[1].actions
    with h5py.File(path, "a") as file:
        file["data/demo_1"].move("actions", "commands")
        file["data/demo_1/actions"] = h5py.SoftLink("commands")
        file["data/demo_0/again"] = h5py.SoftLink("/data/./demo_1/actions")
    found = load(path)
    np.testing.assert_array_equal(found.episodes[1].actions, expected)


def test_virtual_datasets_are_not_read(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    other = save_robomimic(make_demos(2), tmp_path / "other.hdf5")
    with h5py.File(path, "a") as file:
        del file["data/demo_1/rewards"]
        layout = h5py.VirtualLayout((6,), "f4")
        layout[:] = h5py.VirtualSource(other, "data/demo_1/rewards", (6,))
        file["data/demo_1"].create_virtual_dataset("rewards", layout)
    with pytest.raises(InputError, match="keeps its values in another file"):
        load(path)


def test_attributes_of_any_value(tmp_path: Path) -> None:
    path = save_robomimic(make_demos(2), tmp_path / "f.hdf5")
    with h5py.File(path, "a") as file:
        data = file["data"]
        data.move("demo_1", "demo_" + "1" * 5000)
        data.copy("demo_0", "x" * 300)
        data.attrs["nan"], data.attrs["rows"], data.attrs["none"] = np.nan, [1.0, np.inf], h5py.Empty("f4")
        data.attrs["yes"], data.attrs["big"], data.attrs["half"] = True, np.array(2, ">i8"), np.float16(0.5)
        data.attrs["long"], data.attrs["longs"], data.attrs["one"] = np.longdouble(2), np.ones(2, np.longdouble), [True]
        data.attrs.create("kind", 1, dtype=h5py.enum_dtype({"LEFT": 0, "RIGHT": 1}))
        data.attrs["complex"], data.attrs["b\xfc"] = 1 + 2j, np.bytes_(b"b\xfc")
    demos = load(path)
    assert [len(e.name) for e in demos.episodes] == [6, 5005, 300]
    assert demos.attrs == {
        "nan": "nan", "rows": [1.0, "inf"], "none": None, "yes": True, "big": 2, "half": 0.5, "long": 2.0,
        "longs": [1.0, 1.0], "one": [True], "kind": 1, "complex": "(1+2j)", "b\xfc": "b\ufffd",
    }  # fmt: skip
    assert type(demos.attrs["yes"]) is bool
