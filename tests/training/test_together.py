"""One training on several processes under torchrun: the same weights as one process that takes whole batches."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from dtql_robot.algorithm.peers import ALONE
from dtql_robot.checkpoint import load_policy
from dtql_robot.cli import main
from dtql_robot.config import OptimConfig
from dtql_robot.datasets import save_robomimic
from dtql_robot.errors import InputError
from dtql_robot.run_folder import read_metrics
from dtql_robot.training.distributed import Group, group_of
from dtql_robot.training.loop import train
from tests.helpers import trained_together
from tests.training.test_interrupts import SMALL, Training, state_of

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def largest_difference(mine, theirs) -> float:
    """Over all weights and all of Adam's moments.

    But for biases before a spatial softmax, which changes little or nothing with them: their gradients are rounding
    errors, and Adam makes steps of these.
    """
    found = 0.0
    for part in ("networks", "optimizers"):
        pairs = zip(tensors(mine["agent"][part]), tensors(theirs["agent"][part]), strict=True)
        for (name, a), (_, b) in pairs:
            if not re.search(r"maps\.\d+\.bias$", name):
                found = max(found, float((a - b).abs().max()))
    return found


def tensors(value, name=""):
    if isinstance(value, torch.Tensor):
        return [(name, value.double())] if value.numel() else []
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [t for key, part in parts for t in tensors(part, f"{name}.{key}")]


def actions(run, demos):
    """What the policy of a run does in the first episode."""
    policy, episode = load_policy(run), demos.episodes[0]
    rngs = [np.random.default_rng(0)] * len(episode)
    return policy.predict({key: episode.obs[key] for key in policy.interface.obs_keys}, rngs)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Every case, trained by one process."""
    folder = tmp_path_factory.mktemp("alone")
    for name, (demos, cfg) in trained_together.CASES.items():
        train(demos, folder / name, cfg, progress=False)
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Every case, trained by two processes; "resumed" is half done by one before."""
    folder = tmp_path_factory.mktemp("together")
    demos, cfg = trained_together.CASES["default"]
    half_trained(folder / "resumed", demos, cfg)
    command = [sys.executable, *TORCHRUN, trained_together.__file__, str(folder)]
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    return folder


def half_trained(folder, demos, cfg) -> None:
    """A run that stopped after half of its updates."""

    class StopAtHalf:
        def __init__(self, agent):
            self.update, agent.update = agent.update, self
            self.agent = agent

        def __call__(self, batch):
            if self.agent.step == trained_together.UPDATES // 2 - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return self.update(batch)

    from dtql_robot import checkpoint

    make = checkpoint.make_agent
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "make_agent", lambda *args: StopAtHalf(make(*args)).agent)
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            train(demos, folder, cfg, progress=False)
        signal.signal(signal.SIGTERM, previous)
    assert state_of(folder)["agent"]["step"] == trained_together.UPDATES // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", trained_together.CASES)
def test_twenty_updates_of_two_processes_are_those_of_one(name, alone, together):
    one, two = state_of(alone / name), state_of(together / name)
    assert largest_difference(one, two) < 1e-5
    assert torch.equal(one["agent"]["generator"], two["agent"]["generator"])
    assert two["agent"]["step"] == trained_together.UPDATES
    demos = trained_together.CASES[name][0]
    np.testing.assert_allclose(actions(together / name, demos), actions(alone / name, demos), atol=1e-5, rtol=0)
    for mine, theirs in zip(
        read_metrics(together / name / "metrics.csv"), read_metrics(alone / name / "metrics.csv"), strict=True
    ):
        assert {k: v for k, v in mine.items() if k != "seconds"} == pytest.approx(
            {k: v for k, v in theirs.items() if k != "seconds"}, abs=1e-4
        )
    assert sorted(p.name for p in (together / name).iterdir()) == sorted(p.name for p in (alone / name).iterdir())


@pytest.mark.slow
def test_one_process_begins_and_two_go_on(alone, together):
    assert largest_difference(state_of(alone / "default"), state_of(together / "resumed")) < 1e-5


@pytest.mark.slow
def test_torchrun_trains_a_file_stops_when_told_and_one_process_goes_on(tmp_path):
    data, out = tmp_path / "demos.hdf5", tmp_path / "run"
    save_robomimic(trained_together.low_dim(), data)
    words = ["--data", str(data), "--out", str(out), *SMALL, "--no-lr-decay"]
    first = Training.__new__(Training)
    first.first = out
    first.process = subprocess.Popen(
        [sys.executable, *TORCHRUN, "-m", "dtql_robot", "train", *words, "--steps", "600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    first.wait_for_row(3)
    first.process.send_signal(signal.SIGINT)
    out_text, err_text = first.process.communicate(timeout=60)
    assert first.process.returncode != 0
    assert out_text.count("updates of 8 on cpu") == 1, "the first process alone speaks"
    step = state_of(out)["agent"]["step"]
    assert f"Update {step} of 600 is saved" in err_text
    assert read_metrics(out / "metrics.csv")[-1]["step"] == step
    assert json.loads((out / "config.json").read_text())["config"]["steps"] == 600
    assert main(["train", "--out", str(out), "--resume"]) == 0
    assert [row["step"] for row in read_metrics(out / "metrics.csv")] == list(range(1, 601))
    assert not list(out.glob(".*"))


@pytest.fixture
def launched_twice(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("optim", "seeds", "sentence"),
    [
        ({"compile": "on"}, 1, "compile=on cannot be combined with torchrun"),
        ({"cuda_graph": "on"}, 1, "cuda_graph=on cannot be combined with torchrun"),
        ({}, 2, "--seeds trains several policies in one process"),
        ({}, 1, "cannot be reached"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(optim, seeds, sentence, launched_twice):
    cfg = trained_together.config(optim=OptimConfig(**optim))
    with pytest.raises(InputError, match=sentence), group_of(cfg, seeds):
        pass


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 3)
    with pytest.raises(InputError, match="batch_size is 32, which 3 processes cannot share equally"):
        Group(32)
    group = Group(6)
    rows = torch.arange(12)  # of a batch for the critic and one of the behaviour
    shares = []
    for group.rank in range(3):
        shares.append(group.share(rows).tolist())
    assert shares == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


def test_one_process_asks_nobody():
    with group_of(trained_together.config()) as group:
        assert group is None
    values = torch.randn(5)
    assert ALONE.share(values) is ALONE.rows_of_all(values) is ALONE.mean(values) is values
