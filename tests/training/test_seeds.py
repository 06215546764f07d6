"""Several seeds in one process: the run folders that single runs would have left."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch

from dtql_robot import run_folder
from dtql_robot.checkpoint import load_policy
from dtql_robot.commands.words import parse_seeds
from dtql_robot.errors import InputError
from dtql_robot.run_folder import read_metrics
from dtql_robot.training.loop import train
from tests.training.test_train import load_state, small


@pytest.mark.parametrize(
    ("words", "seeds"),
    [
        (("0..3",), (0, 1, 2, 3)),
        (("0", "2", "5"), (0, 2, 5)),
        (("0,1,2",), (0, 1, 2)),
        (("7", "0..2"), (7, 0, 1, 2)),
        (("4",), (4,)),
        ((), ()),
    ],
)
def test_seeds_as_people_write_them(words, seeds):
    assert parse_seeds(words) == seeds


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("0..",), "expected seeds like"),
        (("a",), "expected seeds like"),
        (("-1",), "expected seeds like"),
        (("3..1",), "an empty range"),
        (("0..2", "1"), "lists a seed twice"),
        (("0..100000000",), "at most 1,000"),
        (("0..18446744073709551616",), "below 2\\*\\*63"),
    ],
)
def test_other_seeds_are_input_errors(words, message):
    with pytest.raises(InputError, match=message):
        parse_seeds(words)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_each_seed_equals_its_single_run(demos, tmp_path, threads):
    """On one thread as one ensemble, on two in parallel."""
    cfg = dataclasses.replace(small(12), threads=threads)
    out = train(demos, tmp_path / "runs", cfg, seeds=(0, 3), progress=False)
    assert sorted(p.name for p in out.iterdir()) == ["seed0", "seed3"]
    for seed in (0, 3):
        single = train(demos, tmp_path / f"single{seed}", dataclasses.replace(cfg, seed=seed), progress=False)
        mine, theirs = load_state(out / f"seed{seed}"), load_state(single)
        for network, weights in theirs["networks"].items():
            for key, value in weights.items():
                torch.testing.assert_close(mine["networks"][network][key], value, rtol=1e-4, atol=1e-4)
        assert torch.equal(mine["generator"], theirs["generator"])
        configs = [json.loads((run / "config.json").read_text()) for run in (out / f"seed{seed}", single)]
        assert configs[0] == configs[1]
        rows, expected = (read_metrics(run / "metrics.csv") for run in (out / f"seed{seed}", single))
        assert [r["step"] for r in rows] == [r["step"] for r in expected]
        for row, other in zip(rows, expected, strict=True):
            shared = [k for k in other if k != "seconds"]
            assert [row[k] for k in shared] == pytest.approx([other[k] for k in shared], rel=1e-2, abs=1e-3)
    obs = {"state": np.zeros(5, np.float32)}
    actions = [load_policy(out / name).act(obs) for name in ("seed0", "seed3")]
    assert not np.array_equal(*actions)


@pytest.mark.slow
def test_seeds_resume_together(demos, tmp_path):
    whole = train(demos, tmp_path / "whole", small(20), seeds=(0, 1), progress=False)
    train(demos, tmp_path / "parts", small(10), seeds=(0, 1), progress=False)
    parts = train(demos, tmp_path / "parts", small(20), seeds=(0, 1), resume=True, progress=False)
    for seed in (0, 1):
        a, b = (load_state(out / f"seed{seed}") for out in (whole, parts))
        assert a["step"] == b["step"] == 20
        for network, weights in a["networks"].items():
            for key in weights:
                assert torch.equal(weights[key], b["networks"][network][key]), (seed, network, key)


@pytest.mark.slow
def test_one_of_several_seeds_goes_on_alone(demos, tmp_path):
    """A seed's folder is a run folder like any other."""
    out = train(demos, tmp_path / "runs", small(10), seeds=(0, 1), progress=False)
    train(demos, out / "seed1", dataclasses.replace(small(15), seed=1), resume=True, progress=False)
    assert load_state(out / "seed1")["step"] == 15
    with pytest.raises(InputError, match=r"at different steps \(\[10, 15\]\)"):
        train(demos, out, small(20), seeds=(0, 1), resume=True, progress=False)


def test_interrupted_seeds_are_all_saved(demos, tmp_path, monkeypatch):
    from dtql_robot.algorithm.agent import Algorithm1

    plain = Algorithm1.update

    def interrupted(self, batch):
        if self.step == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, batch)

    monkeypatch.setattr(Algorithm1, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(demos, tmp_path / "runs", small(), seeds=(0, 1), progress=False)
    assert [load_state(tmp_path / "runs" / f"seed{s}")["step"] for s in (0, 1)] == [8, 8]


def test_a_folder_holds_one_run_or_several(demos, tmp_path):
    single = train(demos, tmp_path / "single", small(5), progress=False)
    several = train(demos, tmp_path / "several", small(5), seeds=(0, 1), progress=False)
    assert run_folder.seed_runs(single) == {}
    assert run_folder.seed_runs(several) == {0: several / "seed0", 1: several / "seed1"}
    with pytest.raises(InputError, match="contains a single run"):
        train(demos, single, small(5), seeds=(0, 1), progress=False)
    with pytest.raises(InputError, match="holds the runs of several seeds"):
        train(demos, several, small(5), progress=False)
    with pytest.raises(InputError, match="already contains a run"):
        train(demos, several, small(5), seeds=(1, 2), progress=False)
    assert not (several / "seed2").exists()
