"""A collection that loses workers, is interrupted or continued gives the data that it would have given."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load
from dtql_robot.envs.collection import collector
from dtql_robot.envs.collection.collect import Plan, Recording, collect
from dtql_robot.errors import InputError

OPTIONS = ["FetchReach-v4", "--episodes", "24", "--seed", "3", "--workers", "2"]


@pytest.fixture(scope="module")
def whole():
    return collect("FetchReach-v4", 24, seed=3, workers=1, progress=False)


def assert_same(found, expected):
    assert [e.name for e in found.episodes] == [e.name for e in expected.episodes]
    for a, b in zip(found.episodes, expected.episodes, strict=True):
        assert (a.attrs, a.terminated, a.truncated) == (b.attrs, b.terminated, b.truncated)
        for x, y in ((a.actions, b.actions), (a.rewards, b.rewards), (a.success, b.success)):
            assert np.array_equal(x, y)
        for key, value in b.obs.items():
            assert np.array_equal(a.obs[key], value)
            assert np.array_equal(a.final_obs[key], b.final_obs[key])


def start(out: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "dtql_robot", "collect", *OPTIONS, "--out", str(out), *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def children(pid: int) -> list[int]:
    """Worker processes of a process, once both are at work."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(text) == 2:
            return [int(word) for word in text]
        time.sleep(0.02)
    raise AssertionError("the workers did not start")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_killed_or_frozen_changes_nothing(how, whole, tmp_path, monkeypatch, capfd):
    """Killed or frozen while the first episodes are being recorded."""
    from dtql_robot.system import task_pool

    monkeypatch.setattr(task_pool, "STARTUP_SECONDS", 20.0)
    recording = Recording(Plan("FetchReach-v4", 24, seed=3))
    done = []
    keep = recording._counts

    def strike(episode, tried):
        if not done:
            done.append(children(os.getpid())[0])
            os.kill(done[0], how)
        return keep(episode, tried)

    monkeypatch.setattr(recording, "_counts", strike)
    recording.run(workers=2, progress=False, timeout=5.0)
    assert_same(recording.demonstrations(), whole)
    assert recording.missing == {}
    assert "is repeated" in capfd.readouterr().err


@pytest.mark.slow
def test_interrupted_collections_keep_what_they_have_and_go_on(whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "reach.hdf5"
    keep = Recording._counts

    def interrupt(self, episode, tried):
        if len(self.episodes) == 7:
            raise KeyboardInterrupt
        return keep(self, episode, tried)

    monkeypatch.setattr(Recording, "_counts", interrupt)
    assert main(["collect", *OPTIONS, "--out", str(out)]) == 1
    assert "kept: 7 of 24 episodes" in capsys.readouterr().err
    assert_same(load(out), type(whole)(whole.episodes[:7], "", ""))
    monkeypatch.setattr(Recording, "_counts", keep)
    assert main(["collect", *OPTIONS, "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["collect", *OPTIONS, "--out", str(out), "--resume", "--noise", "0.1"]) == 2
    assert "noise was 0.3, now 0.1" in capsys.readouterr().err
    assert main(["collect", *OPTIONS, "--out", str(out), "--resume"]) == 0
    assert_same(load(out), whole)
    assert main(["collect", *OPTIONS, "--out", str(out), "--resume"]) == 0
    assert_same(load(out), whole)
    assert [p.name for p in tmp_path.iterdir()] == ["reach.hdf5"]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_command(sent, tmp_path):
    out = tmp_path / "reach.hdf5"
    process = start(out, "--episodes", "3000")
    assert process.stderr is not None
    said = ""
    while re.search(r": [1-9]\d*/3000 ep", said) is None:  # an episode is recorded
        line = process.stderr.readline()
        assert line, said
        said += line
    process.send_signal(sent)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "kept: " in err
    count = len(load(out))
    assert 1 <= count < 3000
    assert f"kept: {count} of 3000 episodes" in err


@pytest.mark.slow
def test_successes_only_can_be_continued(tmp_path, monkeypatch):
    arguments = ["collect", "FetchPush-v4", "--seed", "5", "--noise", "1.0", "--successes-only", "--workers", "1"]
    expected = collect("FetchPush-v4", 4, seed=5, noise=1.0, successes_only=True, workers=2, progress=False)
    out = tmp_path / "push.hdf5"
    assert main([*arguments, "--episodes", "2", "--out", str(out)]) == 0
    assert main([*arguments, "--episodes", "4", "--out", str(out), "--resume"]) == 0
    assert_same(load(out), expected)


class Fragile(collector.Collector):
    """Cannot record episode 2."""

    def episode(self, index):
        if index == 2:
            raise ValueError("the arm fell off")
        return super().episode(index)


def test_an_episode_that_cannot_be_recorded_is_told_and_the_others_are_kept(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(collector, "Collector", Fragile)
    out = tmp_path / "reach.hdf5"
    arguments = ["collect", "FetchReach-v4", "--episodes", "5", "--seed", "3", "--workers", "1", "--out", str(out)]
    assert main(arguments) == 1
    assert "number 2: ValueError: the arm fell off." in capsys.readouterr().err
    found = load(out)
    expected = [whole.episodes[i] for i in (0, 1, 3, 4)]
    assert [e.attrs["seed"] for e in found.episodes] == [e.attrs["seed"] for e in expected]
    with h5py.File(out) as file:
        assert "fell off" in str(dict(file["data"].attrs))


def test_a_simulator_that_never_works_ends_the_collection(monkeypatch):
    class Broken(collector.Collector):
        def episode(self, index):
            raise ValueError("no physics")

    monkeypatch.setattr(collector, "Collector", Broken)
    with pytest.raises(RuntimeError, match=r"5 episodes of FetchReach-v4 could not be recorded.*no physics"):
        collect("FetchReach-v4", 50, workers=1, progress=False)


def test_what_cannot_be_continued_is_said(tmp_path):
    from dtql_robot.datasets import save_robomimic

    demos = collect("FetchReach-v4", 1, workers=1, progress=False)
    with pytest.raises(InputError, match="seed was 0, now 1"):
        Plan("FetchReach-v4", 2, seed=1).check_continues(demos.attrs, "x")
    save_robomimic(type(demos)(demos.episodes, "", "", demos.env_spec, demos.env_args), tmp_path / "a.hdf5")
    arguments = ["collect", "FetchReach-v4", "--episodes", "2", "--out", str(tmp_path / "a.hdf5"), "--resume"]
    assert main(arguments) == 2
