"""Trainings that are told to stop, as real processes by real signals, and what their continuation makes of them."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dtql_robot import cli
from dtql_robot.cli import main
from dtql_robot.datasets import save_robomimic
from dtql_robot.run_folder import CHECKPOINT, read_metrics
from dtql_robot.types import Demonstrations
from tests.training.test_pixels import episode as pixel_episode

SMALL = ["--batch-size", "8", "--policy-hidden", "16", "--critic-hidden", "16", "--device", "cpu", "--threads", "1"]
SMALL += ["--denoiser-width", "16", "--horizon", "4", "--n-action-steps", "4", "--log-every", "1"]
PIXELS = ["--obs-keys", "state", "front_image", "--image-features", "8"]


def state_of(run: Path) -> dict:
    return torch.load(run / CHECKPOINT, weights_only=True)


def assert_equal(a, b, where=""):
    """Every tensor and number of two checkpoints."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


class Training:
    """`dtql-robot train` in a process of its own."""

    def __init__(self, words: list[str], first: Path):
        command = [sys.executable, "-m", "dtql_robot", "train", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.first = first
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def wait_for_row(self, step: int) -> None:
        deadline = time.monotonic() + 120
        while not (rows := read_metrics(self.first / "metrics.csv")) or rows[-1]["step"] < step:
            assert self.process.poll() is None, self.process.communicate()
            if time.monotonic() > deadline:
                self.process.kill()
                pytest.fail(f"no row {step} in time")
            time.sleep(0.002)

    def signal(self, *signals: signal.Signals) -> tuple[int, str]:
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.01)
        return self.process.communicate(timeout=120)[1], self.process.returncode


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["inspect", "missing.hdf5"], 2), (["toy", "-h"], 0)])
def test_an_interrupt_of_a_process_that_is_ending_is_ignored(words, code, tmp_path):
    program = (
        "import atexit, os, signal, sys; from dtql_robot.cli import main; "
        "atexit.register(os.kill, os.getpid(), signal.SIGINT); sys.exit(main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert "KeyboardInterrupt" not in ended.stderr


@pytest.fixture
def files(demos, tmp_path) -> dict[str, Path]:
    pixels = Demonstrations(tuple(pixel_episode(f"demo_{i}", 8 + i, i) for i in range(3)), "squares", "robomimic")
    return {
        "low": save_robomimic(demos, tmp_path / "low.hdf5"),
        "pixels": save_robomimic(pixels, tmp_path / "pixels.hdf5"),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options", "steps", "signals"),
    [
        ("low", [], 300, [signal.SIGINT]),
        ("low", ["--seeds", "0..2"], 120, [signal.SIGTERM]),
        ("pixels", PIXELS, 40, [signal.SIGTERM, signal.SIGINT, signal.SIGINT]),
    ],
)
def test_a_resumed_run_equals_the_uninterrupted_one(
    files, tmp_path, monkeypatch, capsys, kind, options, steps, signals
):
    if kind == "pixels":
        monkeypatch.setenv("DTQL_ROBOT_MEMORY_GB", "0.0000001")  # read ahead from a file, by a thread
    words = ["--data", str(files[kind]), *SMALL, *options, "--steps", str(steps), "--checkpoint-every", "25"]
    assert main(["train", *words, "--out", str(tmp_path / "whole")]) == 0
    runs = [tmp_path / "parts" / f"seed{s}" for s in range(3)] if "--seeds" in options else [tmp_path / "parts"]
    training = Training([*words, "--out", str(tmp_path / "parts")], runs[-1])
    training.wait_for_row(random.randrange(1, steps // 2))
    said, code = training.signal(*signals)
    assert code == 1, said
    assert "Traceback" not in said
    reached = {state_of(run)["agent"]["step"] for run in runs}
    assert len(reached) == 1
    assert f"Update {reached.copy().pop()} of {steps} is saved" in said
    assert f"train --out {tmp_path / 'parts'} --resume" in said
    assert not [p for run in runs for p in run.iterdir() if p.name.startswith(".")]
    assert main(["train", "--out", str(tmp_path / "parts"), "--resume"]) == 0, capsys.readouterr().err
    for run in runs:
        whole = tmp_path / "whole" / run.relative_to(tmp_path / "parts")
        assert_equal(state_of(whole), state_of(run))
        rows, expected = (read_metrics(folder / "metrics.csv") for folder in (run, whole))
        assert [{**r, "seconds": 0} for r in rows] == [{**r, "seconds": 0} for r in expected]


@pytest.mark.slow
def test_the_last_save_is_finished_first(files, tmp_path):
    """The signals arrive while the last update is saved."""
    words = ["--data", str(files["low"]), *SMALL, "--steps", "30", "--out", str(tmp_path / "run")]
    training = Training(words, tmp_path / "run")
    training.wait_for_row(30)
    said, code = training.signal(signal.SIGINT, signal.SIGINT, signal.SIGTERM)
    assert code in (0, 1, -signal.SIGINT, -signal.SIGTERM), said  # it may just have ended
    assert state_of(tmp_path / "run")["agent"]["step"] == 30


@pytest.mark.slow
def test_before_the_first_update_nothing_is_left_and_resume_begins(files, tmp_path, capsys):
    out = tmp_path / "deep" / "run"
    training = Training(["--data", str(files["low"]), *SMALL, "--steps", "5", "--out", str(out)], out)
    while not (tmp_path / "deep").exists():  # the folder is claimed, torch and the data are read next
        assert training.process.poll() is None
        time.sleep(0.002)
    said, code = training.signal(signal.SIGINT)
    assert code == 1, said
    assert "Traceback" not in said
    assert not (tmp_path / "deep").exists() or (out / CHECKPOINT).exists()
    assert main(["train", "--data", str(files["low"]), *SMALL, "--steps", "5", "--out", str(out), "--resume"]) == 0
    assert state_of(out)["agent"]["step"] == 5
    assert main(["train", "--out", str(out), "--resume"]) == 0  # nothing left to do


def test_a_signal_on_its_way_while_a_command_ends_changes_nothing(monkeypatch, capsys):
    """As where a third Ctrl-C arrives at the very call from which on they are ignored."""
    calls = []

    def ignored() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("dtql_robot.system.interrupts.ignore_interrupts", ignored)
    assert cli._run("inspect", ["no-such.hdf5"], verbose=False, own=True) == 2
    assert len(calls) == 3
    said = capsys.readouterr().err
    assert "no-such.hdf5" in said
    assert "Traceback" not in said
