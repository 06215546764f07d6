"""What is printed is plain text, in every encoding, and without a terminal too."""

import io
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from dtql_robot.datasets import save_robomimic
from dtql_robot.system.terminal import PlainStream, printable
from tests.training.test_interrupts import SMALL


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\tand\nlines", "plain\tand\nlines"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\rb", "a\\rb"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("Grüße → 世界", "Grüße → 世界"),
        ("\x07\x00", "\\x07\\x00"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert printable(text) == shown
    stream = PlainStream(io.StringIO())
    stream.write(text)
    assert stream.stream.getvalue() == shown


def hostile_file(path):
    with h5py.File(path, "w") as f:
        data = f.create_group("data")
        data.attrs["env_args"] = '{"env_name": "\\u001b[31mred", "type": 1}'
        for i in range(3):
            demo = data.create_group(f"demo_{i}")
            demo["actions"] = np.random.default_rng(i).standard_normal((20, 2)).astype(np.float32)
            demo["obs/\x1b]0;title\x07"] = np.random.default_rng(i).standard_normal((20, 3)).astype(np.float32)
            demo["rewards"] = np.zeros(20, np.float32)
            demo["dones"] = np.zeros(20)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("command", ["inspect", "validate"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_files_names_reach_no_terminal_raw(command, encoding, tmp_path):
    path = hostile_file(tmp_path / "Gr\u00fc\u00dfe.hdf5")
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    found = subprocess.run([sys.executable, "-m", "dtql_robot", command, str(path)], capture_output=True, env=env)
    assert b"Traceback" not in found.stderr
    assert (b"\\x1b" if command == "inspect" else b"demo") in found.stdout + found.stderr
    assert not {b"\x1b", b"\x07"} & {bytes([b]) for b in found.stdout + found.stderr}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["train", "--help"], ["--help"], ["train", "--no-such-option"]])
def test_help_needs_no_unicode(arguments):
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run([sys.executable, "-m", "dtql_robot", *arguments], capture_output=True, env=env)
    assert found.returncode == (2 if "--no-such-option" in arguments else 0)
    assert b"Traceback" not in found.stderr
    assert (found.stdout + found.stderr).isascii()
    assert b"\\u25" not in found.stdout + found.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_file_is_written_whole_with_closed_streams(closed, demos, tmp_path):
    path = save_robomimic(demos, tmp_path / "demos.hdf5")
    command = f'"{sys.executable}" -m dtql_robot split "{path}" {closed}'
    ended = subprocess.run(command, shell=True, capture_output=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr
    with h5py.File(path) as file:
        assert set(file["mask"]) == {"train", "valid"}


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_closed_streams_do_no_harm(closed, tmp_path):
    path = hostile_file(tmp_path / "demos.hdf5")
    command = f'"{sys.executable}" -m dtql_robot inspect "{path}" {closed}'
    found = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "Traceback" not in found.stdout + found.stderr


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("streams", [">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full", "2>&1 | true"])
def test_a_log_that_cannot_be_written_costs_the_log_alone(demos, tmp_path, streams):
    data, out = save_robomimic(demos, tmp_path / "demos.hdf5"), tmp_path / "run"
    words = [
        sys.executable,
        "-m",
        "dtql_robot",
        "train",
        "--data",
        str(data),
        "--out",
        str(out),
        "--steps",
        "4",
        *SMALL,
    ]
    ended = subprocess.run(["sh", "-c", f'"$@" {streams}', "sh", *words], capture_output=True, text=True)
    assert (out / "checkpoint.pt").exists()
    assert ended.returncode == (1 if streams.startswith(">") else 0)
    assert ("what it printed could not be written" in ended.stderr) == (streams == ">/dev/full")
    assert "Traceback" not in ended.stderr
