"""One process at a time writes an output: commands ask for the lock before they begin."""

from pathlib import Path

import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load, save_robomimic
from dtql_robot.system.locks import locked


@pytest.fixture
def data(demos, tmp_path) -> Path:
    return save_robomimic(demos, tmp_path / "demos.hdf5")


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("made.hdf5", ["convert", "DATA", "OUT"]),
        ("made-v0", ["convert", "DATA", "OUT"]),
        ("made.hdf5", ["collect", "FetchReach-v4", "--episodes", "1", "--out", "OUT"]),
        ("demos.hdf5", ["split", "DATA", "--train", "0.5"]),
        ("policy.pt", ["export", "no-run-yet", "--format", "torchscript", "--out", "OUT"]),
        ("bench", ["bench", "smoke", "--out", "OUT", "--seeds", "0"]),
    ],
)
def test_what_another_process_writes_is_left_to_it(data, tmp_path, capsys, out, words):
    path, before = tmp_path / out, data.read_bytes()
    with locked(path):  # of another descriptor, as another process has one
        assert main([{"DATA": str(data), "OUT": str(path)}.get(w, w) for w in words]) == 2
    assert "is being written by another process" in capsys.readouterr().err
    assert data.read_bytes() == before
    assert path == data or not path.exists()


def test_the_lock_is_gone_afterwards(data, tmp_path):
    assert main(["convert", str(data), str(tmp_path / "made.hdf5")]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"demos.hdf5", "made.hdf5"}
    assert len(load(tmp_path / "made.hdf5")) == len(load(data))


@pytest.mark.parametrize("command", ["convert", "export", "toy", "bench", "playback"])
def test_the_home_folder_of_nobody_is_a_sentence(data, tmp_path, capsys, command):
    nobody = "~no-such-user/x"
    words = {
        "convert": [str(data), nobody],
        "export": ["run", "--format", "onnx", f"--out={nobody}"],
        "toy": [f"--out={nobody}"],
        "bench": ["smoke", f"--out={nobody}"],
        "playback": [str(data), f"--video={nobody}"],
    }[command]
    assert main([command, *words]) == 2
    assert "a user that does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["/", "FOLDER"])
def test_a_folder_is_no_file_to_write(data, tmp_path, capsys, out):
    words = ["export", "no-run-yet", "--format", "torchscript", "--out", out.replace("FOLDER", str(tmp_path))]
    assert main(words) == 2
    assert "is a folder; expected the name of a file to write" in capsys.readouterr().err
