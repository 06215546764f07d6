"""Evaluations while training, held-out losses and the checkpoints that are kept; what is trained stays the same."""

import dataclasses
import os
import signal
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from dtql_robot.api.settings import with_settings
from dtql_robot.checkpoint import load_policy
from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.metrics import best_evaluation, overfitting
from dtql_robot.run_folder import read_metrics
from dtql_robot.training.callback import Callback
from dtql_robot.training.claim import claimed
from dtql_robot.training.held_out import hold_out, without
from dtql_robot.training.loop import train, train_into
from dtql_robot.training.prepare import resolve
from tests.training.test_train import load_state, small


@dataclass(frozen=True)
class Outcome:
    """What an evaluation says."""

    success_rate: float | None
    mean_return: float = 0.0
    episodes: int = 10

    @property
    def ci95(self):
        return None if self.success_rate is None else (self.success_rate / 2, min(1.0, self.success_rate + 0.2))

    @property
    def return_ci95(self):
        return (self.mean_return - 1, self.mean_return + 1)

    @property
    def normalized_score(self):
        return None if self.success_rate is None else 100 * self.success_rate


class Told(Callback):
    """Everything that a training tells."""

    def __init__(self):
        self.events = []

    def on_start(self, runs, cfg, step):
        self.events.append(("start", step))

    def on_step(self, step):
        self.events.append(("step", step))

    def on_log(self, run, step, values):
        self.events.append(("log", step))

    def on_eval(self, run, step, result):
        self.events.append(("eval", step))

    def on_checkpoint(self, run, step, path):
        self.events.append(("checkpoint", step, path.name))

    def on_end(self, step):
        self.events.append(("end", step))


def watched(steps: int = 30, **settings) -> Config:
    return with_settings(small(steps), {"eval_every": 10, "keep": "last,best,every:20", **settings})


def run_watched(demos, out, cfg, *, rates=(0.5, 0.9, 0.7), resume=False, valid=None, callbacks=(), seeds=(), stop=None):
    """Train with evaluations that act once (so that a policy that draws from the training's noise would be seen) and
    then say `rates` by the update."""
    asked = []

    def judge(policy, stopped):
        step = policy.model.step
        policy.predict({"state": np.zeros((1, 5), np.float32)}, [np.random.default_rng(0)])
        torch.rand(3), np.random.rand(3)
        asked.append(step)
        if stop == len(asked):
            os.kill(os.getpid(), signal.SIGINT)
            assert stopped()
            return None
        return Outcome(rates[step // 10 - 1])

    with claimed(out, cfg.seed, seeds, resume=resume) as folders:
        train_into(folders, demos, resolve(demos, cfg), resume=resume, progress=False, judge=judge, valid=valid,
                   callbacks=callbacks)  # fmt: skip
    return out


def rows_of(run):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run / "metrics.csv")]


def same(a, b):
    return all(torch.equal(a["networks"][n][k], b["networks"][n][k]) for n in a["networks"] for k in a["networks"][n])


@pytest.mark.slow
def test_a_watched_training_is_the_unwatched_one(demos, tmp_path):
    train_demos, valid = hold_out(demos, 0.3)
    plain = load_state(train(train_demos, tmp_path / "plain", small(30), progress=False))
    run = run_watched(train_demos, tmp_path / "watched", watched(), valid=valid)
    assert same(plain, load_state(run))
    assert torch.equal(plain["generator"], load_state(run)["generator"])


def test_metrics_have_the_success_curve_and_the_held_out_loss(demos, tmp_path):
    train_demos, valid = hold_out(demos, 0.3)
    rows = rows_of(run_watched(train_demos, tmp_path / "run", watched(), valid=valid))
    assert [r["step"] for r in rows] == [5, 10, 15, 20, 25, 30]
    assert [r["eval_success"] for r in rows if r["step"] % 10 == 0] == [0.5, 0.9, 0.7]
    assert [r["eval_score"] for r in rows if r["step"] % 10 == 0] == pytest.approx([50, 90, 70])
    assert [(r["eval_success_low"], r["eval_success_high"]) for r in rows if r["step"] == 20] == [(0.45, 1.0)]
    assert all(np.isnan(r["eval_success"]) == (r["step"] % 10 != 0) for r in rows)
    assert all(0 < r["valid_action_error"] < 4 and r["valid_denoiser_loss"] > 0 for r in rows if r["step"] % 10 == 0)
    assert all(np.isfinite(r["q_loss"]) for r in rows)


@pytest.mark.slow
def test_best_and_every_n_are_kept_and_load(demos, tmp_path):
    run = run_watched(demos, tmp_path / "run", watched())
    assert sorted(p.name for p in run.glob("*.pt")) == ["checkpoint-20.pt", "checkpoint-best.pt", "checkpoint.pt"]
    steps = {name: load_policy(f"{run}@{name}").model for name in ("best", "20", "last")}
    at_20 = load_state(train(demos, tmp_path / "short", small(20), progress=False))
    for name in ("best", "20"):
        for key, value in at_20["networks"]["ema_policy"].items():
            assert torch.equal(steps[name].ema_policy.state_dict()[key], value)
    assert not torch.equal(*(next(iter(steps[n].ema_policy.parameters())) for n in ("best", "last")))
    with pytest.raises(InputError, match=r"no checkpoint-15\.pt; it has .*best"):
        load_policy(f"{run}@15")
    with pytest.raises(InputError, match="does not name a checkpoint"):
        load_policy(f"{run}@bets")


@pytest.mark.slow
def test_resumed_in_the_middle_of_an_evaluation_it_equals_the_uninterrupted_run(demos, tmp_path):
    whole = run_watched(demos, tmp_path / "whole", watched())
    with pytest.raises(KeyboardInterrupt):
        run_watched(demos, tmp_path / "parts", watched(), stop=2)
    assert load_state(tmp_path / "parts")["step"] == 20
    parts = run_watched(demos, tmp_path / "parts", watched(), resume=True)
    assert same(load_state(whole), load_state(parts))
    np.testing.assert_equal(rows_of(whole), rows_of(parts))
    for name in ("best", "20"):
        a, b = (torch.load(r / f"checkpoint-{name}.pt", weights_only=True)["agent"] for r in (whole, parts))
        assert a["step"] == b["step"] == 20
        assert same(a, b)


def test_a_resumed_run_knows_its_best(demos, tmp_path):
    run_watched(demos, tmp_path / "run", watched(20), rates=(0.9, 0.5))
    run = run_watched(demos, tmp_path / "run", watched(30), rates=(0.9, 0.5, 0.7), resume=True)
    assert torch.load(run / "checkpoint-best.pt", weights_only=True)["agent"]["step"] == 10


@pytest.mark.slow
def test_each_of_several_seeds_is_watched(demos, tmp_path):
    out = run_watched(demos, tmp_path / "runs", watched(), seeds=(0, 1))
    for seed in (0, 1):
        assert [r["eval_success"] for r in rows_of(out / f"seed{seed}") if r["step"] == 30] == [0.7]
        assert (out / f"seed{seed}" / "checkpoint-best.pt").exists()


def test_callbacks_are_told_in_order(demos, tmp_path):
    told = Told()
    run_watched(demos, tmp_path / "run", dataclasses.replace(watched(20), log_every=10), callbacks=[told])
    ten = [("step", 10), ("log", 10), ("log", 10), ("eval", 10), ("checkpoint", 10, "checkpoint-best.pt")]
    assert told.events[0] == ("start", 0)
    assert told.events[10:15] == ten
    assert told.events[-2:] == [("checkpoint", 20, "checkpoint.pt"), ("end", 20)]


def test_a_callback_that_defines_no_on_step_is_not_called_every_step():
    from dtql_robot.training.callback import steppers

    class Quiet(Callback):
        pass

    told = Told()
    assert steppers([Quiet(), told]) == [told]


def test_a_simulator_that_fails_does_not_end_a_training(demos, tmp_path, capsys):
    def judge(policy, stopped):
        raise InputError("The simulator cannot be made.")

    with claimed(tmp_path / "run", 0) as folders:
        train_into(folders, demos, resolve(demos, watched(10)), progress=False, judge=judge)
    assert load_state(tmp_path / "run")["step"] == 10
    assert "no evaluation at update 10, training goes on: The simulator cannot be made." in capsys.readouterr().err


def test_what_is_held_out_is_not_trained_on_and_copies_stay_together(demos):
    twice = dataclasses.replace(demos, episodes=(*demos.episodes, *demos.episodes))
    train_part, valid = hold_out(twice, 0.5)
    assert len(train_part) == len(valid) == 6
    assert not {e.name for e in train_part.episodes} & {e.name for e in valid.episodes}
    assert [e.name for e in hold_out(twice, 0.5)[1].episodes] == [e.name for e in valid.episodes]
    assert {e.name for e in without(demos, valid).episodes} == {e.name for e in train_part.episodes}
    with pytest.raises(InputError, match="distinct episode"):
        hold_out(dataclasses.replace(demos, episodes=demos.episodes[:1] * 3), 0.5)


def test_the_best_evaluation_is_by_success_then_return_then_the_latest():
    def row(step, success, returned):
        return {"step": step, "eval_success": success, "eval_return": returned}

    assert best_evaluation([]) is None
    assert best_evaluation([row(1, 0.5, 0.0), {"step": 2}, row(3, 0.5, 1.0), row(4, 0.4, 9.0)])["step"] == 3
    assert best_evaluation([row(1, 1.0, 2.0), row(2, 1.0, 2.0)])["step"] == 2
    assert best_evaluation([row(1, np.nan, 2.0), row(2, np.nan, 3.0), row(3, np.nan, 1.0)])["step"] == 2


def test_overfitting_is_told_where_the_held_out_error_rises():
    def curve(*errors):
        return [{"step": 10.0 * (i + 1), "valid_action_error": e} for i, e in enumerate(errors)]

    assert overfitting(curve(0.3, 0.2, 0.19, 0.195)) is None
    assert overfitting(curve(0.3, 0.9)) is None
    assert "lowest at update 20 (0.2) and is 50% higher at update 40 (0.3)" in overfitting(curve(0.4, 0.2, 0.25, 0.3))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"keep": "best"}, "best only with eval_every"),
        ({"keep": "newest"}, "last, best or every:N"),
        ({"keep": "every:0"}, "last, best or every:N"),
        ({"eval_every": 0}, "at least 1"),
        ({"valid_fraction": 1.0}, "above 0 and below 1"),
        ({"valid_fraction": 0.2, "valid_key": "valid"}, "None with valid_fraction"),
        ({"log": "tensorbord"}, "tensorboard, wandb, mlflow"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        with_settings(Config(), settings)
