"""The loop, the run folder, resuming, and the policy that comes out."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch

from dtql_robot import run_folder
from dtql_robot.checkpoint import load_policy
from dtql_robot.config import Config, CriticConfig, DataConfig, DiffusionConfig, OptimConfig, PolicyConfig
from dtql_robot.errors import InputError
from dtql_robot.run_folder import read_metrics
from dtql_robot.training.loop import train
from dtql_robot.training.prepare import headline, resolve
from dtql_robot.types import Policy


def small(steps: int = 30, **policy) -> Config:
    return Config(
        steps=steps,
        device="cpu",
        log_every=5,
        checkpoint_every=10,
        data=DataConfig(horizon=4, n_action_steps=2),
        diffusion=DiffusionConfig(denoiser_width=16, denoiser_blocks=1),
        policy=PolicyConfig(policy_hidden=(16, 16), **policy),
        critic=CriticConfig(critic_hidden=(16, 16)),
        optim=OptimConfig(batch_size=32, lr_decay=False),
    )


def load_state(run):
    return torch.load(run / run_folder.CHECKPOINT, weights_only=True)["agent"]


def test_run_folder_holds_config_metrics_and_checkpoint(demos, tmp_path):
    run = train(demos, tmp_path / "run", small(), progress=False)
    settings = json.loads((run / "config.json").read_text())
    assert settings["config"]["data"]["reward"] == "success"
    assert settings["config"]["data"]["obs_keys"] == ["state"]
    rows = read_metrics(run / "metrics.csv")
    assert [r["step"] for r in rows] == [5, 10, 15, 20, 25, 30]
    assert {"denoiser_loss", "trust_region", "q_loss", "v_loss", "policy_loss"} <= set(rows[0])
    assert load_state(run)["step"] == 30
    assert not list(run.glob(".*"))


def test_the_run_holds_the_weights_of_its_chunks(demos, tmp_path):
    run = train(demos, tmp_path / "run", small(10), progress=False)
    weights = load_policy(run).interface.chunk_weights
    assert [len(w) for w in weights] == [4, 2, 2, 1]
    assert all(sum(w) == pytest.approx(1) and min(w) >= 0 for w in weights)
    assert load_policy(run).chunk_weights == weights[1]
    off = dataclasses.replace(small(10), data=DataConfig(horizon=4, n_action_steps=2, temporal_ensemble_coeff=None))
    plain = load_policy(train(demos, tmp_path / "plain", off, progress=False))
    assert plain.chunk_weights is None
    assert plain.interface.chunk_weights == ()


@pytest.mark.slow
def test_resumed_run_equals_the_uninterrupted_one(demos, tmp_path):
    whole = train(demos, tmp_path / "whole", small(30), progress=False)
    train(demos, tmp_path / "parts", small(15), progress=False)
    parts = train(demos, tmp_path / "parts", small(30), resume=True, progress=False)
    a, b = load_state(whole), load_state(parts)
    for name in ("policy", "ema_policy", "q", "target_q", "v", "denoiser"):
        for key in a["networks"][name]:
            assert torch.equal(a["networks"][name][key], b["networks"][name][key]), (name, key)
    assert load_policy(whole).chunk_weights == load_policy(parts).chunk_weights
    columns = set(read_metrics(whole / "metrics.csv")[0]) - {"seconds"}
    for one, other in zip(read_metrics(whole / "metrics.csv"), read_metrics(parts / "metrics.csv"), strict=True):
        assert {c: one[c] for c in columns} == {c: other[c] for c in columns}


def test_interrupted_run_is_saved(demos, tmp_path, monkeypatch):
    from dtql_robot.algorithm.agent import DTQL

    plain = DTQL.update

    def interrupted(self, batch):
        if self.step == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, batch)

    monkeypatch.setattr(DTQL, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(demos, tmp_path / "run", small(), progress=False)
    assert load_state(tmp_path / "run")["step"] == 8


def test_diverged_run_keeps_its_last_good_checkpoint(demos, tmp_path, monkeypatch):
    from dtql_robot.algorithm.agent import DTQL

    plain = DTQL.update

    def diverging(self, batch):
        log = plain(self, batch)
        return log | {"q_loss": torch.tensor(float("nan"))} if self.step > 12 else log

    monkeypatch.setattr(DTQL, "update", diverging)
    with pytest.raises(FloatingPointError, match=r"'q_loss'.* step 15"):
        train(demos, tmp_path / "run", small(), progress=False)
    assert load_state(tmp_path / "run")["step"] == 10


def test_same_seed_same_weights_other_seed_other_weights(demos, tmp_path):
    a = load_state(train(demos, tmp_path / "a", small(10), progress=False))
    b = load_state(train(demos, tmp_path / "b", small(10), progress=False))
    c = load_state(train(demos, tmp_path / "c", dataclasses.replace(small(10), seed=1), progress=False))
    a, b, c = (state["networks"]["policy"] for state in (a, b, c))
    key = next(iter(a))
    assert torch.equal(a[key], b[key])
    assert not torch.equal(a[key], c[key])


def test_refusals_say_why_and_change_nothing(demos, tmp_path):
    run = train(demos, tmp_path / "run", small(10), progress=False)
    before = (run / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match="already contains a run"):
        train(demos, run, small(10), progress=False)
    other = dataclasses.replace(small(20), critic=CriticConfig(critic_hidden=(16, 16), expectile=0.9))
    with pytest.raises(InputError, match=r"critic\.expectile was 0\.7, now 0\.9"):
        train(demos, run, other, resume=True, progress=False)
    fewer = dataclasses.replace(demos, episodes=demos.episodes[:3])
    with pytest.raises(InputError, match=r"other settings or data|other data"):
        train(fewer, run, small(20), resume=True, progress=False)
    assert (run / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"not a checkpoint" * 10])
def test_damaged_checkpoint_is_one_sentence(demos, tmp_path, damage):
    run = train(demos, tmp_path / "run", small(5), progress=False)
    path = run / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="damaged or not a checkpoint"):
        load_policy(run)


def test_headline_says_what_is_trained_on(demos):
    line = headline(demos, resolve(demos, small()).cfg)
    assert "6 episodes" in line
    assert "3 of 6 end in success" in line
    assert "reward: success" in line


def test_asking_for_a_missing_gpu_is_an_input_error(demos, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="finds no GPU"):
        train(demos, tmp_path / "run", dataclasses.replace(small(), device="cuda"), progress=False)


@pytest.fixture(scope="module")
def observations():
    return {"state": np.random.default_rng(0).standard_normal((5, 5)).astype(np.float32)}


@pytest.mark.slow
@pytest.mark.parametrize("act", ["mean", "sample", "best", "softmax", "diffusion", "diffusion-best"])
def test_policy_rows_do_not_depend_on_the_batch(demos, tmp_path, observations, act):
    policy = load_policy(train(demos, tmp_path / "run", small(5, act=act, candidates=8, nll="tanh"), progress=False))
    assert isinstance(policy, Policy)
    together = policy.predict(observations, [np.random.default_rng(i) for i in range(5)])
    assert together.shape == (5, 4, 2)
    for i in range(5):
        alone = policy.predict({"state": observations["state"][i : i + 1]}, [np.random.default_rng(i)])
        np.testing.assert_array_equal(alone[0], together[i])


def test_act_executes_the_chunk_then_looks_again(demos, tmp_path, observations):
    policy = load_policy(train(demos, tmp_path / "run", small(5), progress=False))
    first, second = ({"state": s} for s in observations["state"][:2])
    chunk = policy.predict({"state": first["state"][None]}, [np.random.default_rng(0)])[0]
    policy.reset(seed=0)
    np.testing.assert_array_equal(policy.act(first), chunk[0])
    np.testing.assert_array_equal(policy.act(second), chunk[1])
    after = policy.predict({"state": second["state"][None]}, [np.random.default_rng(0)])[0]
    new, old = policy.chunk_weights
    np.testing.assert_allclose(policy.act(second), new * after[0] + old * chunk[2], rtol=1e-5)
    policy.set_plan(1, "off")
    policy.act(first)
    np.testing.assert_array_equal(policy.act(second), after[0])


def test_best_candidate_has_the_highest_target_q(demos, tmp_path, observations):
    policy = load_policy(
        train(demos, tmp_path / "run", small(5, act="best", candidates=16, nll="tanh"), progress=False)
    )
    state = policy.interface.obs_norm.apply(observations["state"][0])
    chosen = policy.choice.chunk(state, np.random.default_rng(0))
    noise = np.random.default_rng(0).standard_normal((16, 4, 2), dtype=np.float32)
    obs = torch.from_numpy(state).expand(16, -1)
    with torch.no_grad():
        chunks = policy.network(obs, torch.from_numpy(noise))
        q = policy.choice.critic(obs, chunks).min(dim=0).values
    np.testing.assert_allclose(chosen, chunks[q.argmax()], atol=1e-6)  # of one pass of the network for all candidates


def test_wrong_observations_are_named(demos, tmp_path, observations):
    policy = load_policy(train(demos, tmp_path / "run", small(5), progress=False))
    with pytest.raises(InputError, match="trained on observation 'state'"):
        policy.act({"image": np.zeros(3)})
    with pytest.raises(InputError, match=r"has shape \(4,\); trained on \(5,\)"):
        policy.act({"state": np.zeros(4)})
