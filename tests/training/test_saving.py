"""Checkpoints on disks that fill, of several seeds, and of trainings that diverge."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dtql_robot.cli import main
from dtql_robot.datasets import save_robomimic
from dtql_robot.run_folder import read_config
from dtql_robot.training.loop import train
from dtql_robot.training.saving import NEXT
from tests.training.test_interrupts import SMALL
from tests.training.test_train import load_state, small


@pytest.fixture
def words(demos, tmp_path) -> list[str]:
    file = save_robomimic(demos, tmp_path / "demos.hdf5")
    return ["train", "--data", str(file), *SMALL, "--steps", "30", "--checkpoint-every", "10"]


def run_script(script: str, words: list[str]) -> subprocess.CompletedProcess:
    """A process that changes something about itself and then trains."""
    code = f"import os, resource, signal, sys\n{script}\nfrom dtql_robot.cli import main\nsys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120)


KILLED_AT = """
plain, left = os.replace, [{count}]
def replace(source, target):
    if str(source).endswith(".next"):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    plain(source, target)
os.replace = replace
"""


@pytest.mark.slow
@pytest.mark.parametrize("renamed", [0, 1, 4])
def test_seeds_that_were_killed_within_a_save_go_on(words, tmp_path, renamed):
    """After so many of the checkpoints took their names: in the first save none or one of three, in the second one."""
    out = tmp_path / "runs"
    words = [*words, "--out", str(out), "--seeds", "0..2"]
    assert main([*words[:-3], str(tmp_path / "whole"), *words[-2:]]) == 0
    killed = run_script(KILLED_AT.format(count=renamed + 1), words)
    assert killed.returncode == -9, killed.stderr
    assert main([*words, "--resume"]) == 0
    for name in ("seed0", "seed1", "seed2"):
        mine, theirs = load_state(out / name), load_state(tmp_path / "whole" / name)
        assert mine["step"] == 30
        for key, value in theirs["networks"]["policy"].items():
            assert torch.equal(mine["networks"]["policy"][key], value)
        assert not (out / name / NEXT).exists()


@pytest.mark.slow
def test_no_room_is_said_before_the_work(words, tmp_path):
    out = tmp_path / "run"
    done = run_script("resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))", [*words, "--out", str(out)])
    assert done.returncode == 2, done.stderr
    assert "no room for a checkpoint of" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "checkpoint.pt").exists()


FULL_AFTER = """
import dtql_robot.training.saving as saving
plain, left = saving._write, [{count}]
def write(file, content):
    left[0] -= 1
    if left[0] == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    plain(file, content)
    # room again for what follows
saving._write = write
saving.WAITS = (0.1,)
"""


@pytest.mark.slow
def test_a_disk_that_fills_costs_one_save_and_no_work(words, tmp_path):
    """The second of three saves cannot be written: the first stays, training goes on and ends in one sentence."""
    out = tmp_path / "run"
    done = run_script(FULL_AFTER.format(count=2), [*words, "--out", str(out)])
    assert done.returncode == 1, done.stderr
    assert "update 20 could not be saved" in done.stderr
    assert "the checkpoint of update 10 is kept; training goes on" in done.stderr
    assert "trying again" in done.stderr
    assert "Traceback" not in done.stderr
    assert load_state(out)["step"] == 10
    assert main(["train", "--out", str(out), "--resume"]) == 0
    assert load_state(out)["step"] == 30


def test_weights_that_are_not_finite_never_replace_good_ones(words, tmp_path, capsys, monkeypatch):
    """NaN between two rows of the log, right before a save."""
    from dtql_robot.algorithm.agent import Algorithm1

    plain = Algorithm1.update

    def broken(self, batch):
        log = plain(self, batch)
        if self.step == 20:
            with torch.no_grad():
                next(self.policy.parameters()).fill_(float("nan"))
        return log

    monkeypatch.setattr(Algorithm1, "update", broken)
    assert main([*words, "--log-every", "7", "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "weights became NaN or infinite by step 20 (in policy): the checkpoint of update 10 is kept" in said
    assert load_state(tmp_path / "run")["step"] == 10


def test_a_learning_rate_that_diverges_is_one_sentence(words, tmp_path, capsys):
    assert main([*words, "--lr", "1e18", "--steps", "60", "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "became NaN or infinite by step" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "run").glob(".*"))


def test_what_was_decided_is_kept_and_goes_on(demos, tmp_path):
    run = train(demos, tmp_path / "run", small(10), progress=False)
    decisions = read_config(run)["decisions"]
    assert any(d.startswith("awr_temperature 1.5: 3 of 6 episodes") for d in decisions)
    assert any(d.startswith("reward 0 at a successful step") for d in decisions)
    assert any(d.startswith("sigma_data") for d in decisions)
    train(demos, run, small(15), resume=True, progress=False)
    assert set(decisions) <= set(read_config(run)["decisions"])


@pytest.mark.slow
def test_more_steps_under_a_decaying_rate_are_explained_and_fewer_refused(words, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main([*words, "--out", run]) == 0
    assert "sigma_data" in capsys.readouterr().out
    assert main(["train", "--out", run, "--resume", "--steps", "60"]) == 0
    note = "--steps 60 instead of 30: the learning rate decays over the whole run, so at update 30 it goes up from 0 to"
    assert note in capsys.readouterr().out
    assert any(note in d for d in read_config(Path(run))["decisions"])
    assert main(["train", "--out", run, "--resume", "--steps", "40"]) == 2
    assert "a training of 60 steps, and 60 of its 60 updates are done" in capsys.readouterr().err
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
