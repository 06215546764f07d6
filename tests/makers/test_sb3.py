"""Actors of Stable-Baselines3 act here as they do there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from dtql_robot import load_policy
from dtql_robot.datasets import load
from dtql_robot.errors import InputError
from dtql_robot.makers.replay import replayed
from dtql_robot.makers.sb3 import save_sb3, sb3_policy
from dtql_robot.run_folder import settings_of
from tests.helpers.sb3_zip import sb3_zip

ENV = "Pendulum-v1"  # its actions are within 2, not 1
SCRIPT = Path(__file__).parents[2] / "benchmarks/makers/train_maker.py"
RELU = {"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.activation.ReLU'>"}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of train_maker.py."""
    pytest.importorskip("stable_baselines3", reason="stable_baselines3 is not installed (dtql-robot[makers])")
    out = tmp_path_factory.mktemp("makers")
    spec = importlib.util.spec_from_file_location("train_maker", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    module.EPISODES = 1
    sizes = ["--algorithm", "sac", "--steps", "300", "--warm-up", "250", "--every", "300", "--medium-return", "-9999"]
    module.ENVS, module.ROLLOUT = 2, 64
    try:
        module.main([ENV, *sizes, "--out", str(out)])
        module.main([ENV, "--steps", "128", "--every", "128", "--out", str(out / "ppo")])
    finally:
        torch.set_num_threads(threads)
    return out


@pytest.mark.slow
@pytest.mark.simulator
def test_the_actor_has_the_same_mean_and_the_same_samples(trained: Path) -> None:
    from stable_baselines3 import SAC

    agent = SAC.load(trained / "step_300.zip")
    policy = load_policy(trained / "step_300")
    states = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    obs = {"observation": states}
    rngs = [np.random.default_rng(i) for i in range(20)]
    with torch.no_grad():
        mean, log_std, _ = agent.actor.get_action_dist_params(torch.from_numpy(states))
    noise = np.stack([np.random.default_rng(i).standard_normal((1, 1, 1), dtype=np.float32)[0, 0] for i in range(20)])
    expected = 2 * np.tanh(mean.numpy() + log_std.exp().numpy() * noise)
    np.testing.assert_allclose(policy.predict(obs, rngs)[:, 0], expected, atol=1e-6)
    assert np.ptp(log_std.numpy()) > 0
    policy.set_act("mean")
    np.testing.assert_allclose(policy.predict(obs, rngs)[:, 0], agent.predict(states, deterministic=True)[0], atol=1e-6)
    policy.set_act("sample")
    same = {"observation": np.repeat(states[:1], 2000, axis=0)}
    ours = policy.predict(same, [np.random.default_rng(i) for i in range(2000)])[:, 0, 0]
    agent.set_random_seed(0)
    theirs = agent.predict(same["observation"], deterministic=False)[0][:, 0]
    shares = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(np.quantile(ours, shares), np.quantile(theirs, shares), atol=0.15)


@pytest.mark.slow
@pytest.mark.simulator
def test_ppos_actor_sees_normalized_observations_and_acts_through_tanh(trained: Path) -> None:
    from stable_baselines3 import PPO

    agent = PPO.load(trained / "ppo/step_128.zip")
    policy = load_policy(trained / "ppo/step_128")
    with np.load(trained / "ppo/step_128.norm.npz") as file:
        seen, deviation = file["mean"], file["std"]
    states = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    rngs = [np.random.default_rng(i) for i in range(20)]
    mean = agent.predict((states - seen) / deviation, deterministic=True)[0]
    assert np.abs(mean).max() < 4  # beyond which the environment cuts it off
    noise = np.stack([np.random.default_rng(i).standard_normal((1, 1, 1), dtype=np.float32)[0, 0] for i in range(20)])
    std = agent.policy.log_std.exp().detach().numpy()
    np.testing.assert_allclose(
        policy.predict({"observation": states}, rngs)[:, 0], 2 * np.tanh(mean + std * noise), atol=1e-5
    )
    policy.set_act("mean")
    np.testing.assert_allclose(policy.predict({"observation": states}, rngs)[:, 0], 2 * np.tanh(mean), atol=1e-5)
    assert "The actor of PPO for `Pendulum-v1`" in (trained / "ppo/step_128/README.md").read_text()


@pytest.mark.slow
@pytest.mark.simulator
def test_what_it_saw_is_a_file_in_d4rls_layout(trained: Path) -> None:
    demos = load(trained / "replay.hdf5")
    assert (demos.format, demos.env_spec, demos.num_transitions) == ("d4rl", ENV, 299)  # the last is yet to be stored
    assert [(len(e), e.terminated, e.truncated) for e in demos.episodes] == [(200, False, True), (99, False, True)]
    assert 1 < max(np.abs(e.actions).max() for e in demos.episodes) <= 2  # the environment's units, not SAC's
    assert "SAC, seed 0, 300 steps" in demos.attrs["maker"]


@pytest.mark.simulator
def test_a_folder_keeps_what_the_file_says(tmp_path: Path) -> None:
    out = save_sb3(sb3_zip(tmp_path / "a.zip", 3, 1, (5, 6, 7)), ENV, tmp_path / "maker", measured="Return 3.")
    assert load_policy(out).network.net[2].weight.shape == (6, 5)
    assert settings_of(out)["env"] == ENV
    card = (out / "README.md").read_text()
    assert "for 1,234 environment steps with\nseed 7" in card
    assert "Return 3." in card


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("size", "env", "changes", "sentence"),
    [
        ((4, 1), ENV, {}, "reads 4 numbers and gives 1; the environment has 3 and 1"),
        ((3, 1), ENV, {"use_sde": True}, "state-dependent noise"),
        ((3, 1), ENV, {"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.activation.Tanh'>"}}, "Tanh"),
        ((16, 4), "FetchReach-v4", {}, "expected one array"),
        ((3, 1), ENV, {"ppo": True}, "Tanh"),  # its default
        ((3, 1), ENV, {"ppo": True, **RELU, "action_space": {"high": "[2.]"}}, "a Gaussian that is cut off"),
    ],
)
def test_other_agents_are_refused(tmp_path: Path, size: tuple, env: str, changes: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        sb3_policy(sb3_zip(tmp_path / "a.zip", *size, **changes), env)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    for path in (tmp_path / "a.zip", tmp_path / "none.zip", tmp_path):
        with pytest.raises(InputError, match=r"is not what Stable-Baselines3's `save` writes"):
            sb3_policy(path, ENV)


def test_ends_in_a_replay_buffer_are_falls_or_time_limits() -> None:
    rows = np.arange(12, dtype=np.float64).reshape(6, 2)
    flags = {"dones": [0, 1, 0, 1, 0, 0], "timeouts": [0, 0, 0, 1, 0, 0]}
    buffer = {
        "observations": rows,
        "next_observations": rows + 100,
        "actions": rows[:, :1],
        "rewards": rows[:, 0],
        **{name: np.array(values, np.float32) for name, values in flags.items()},
    }
    found = replayed("Hopper-v5", buffer, {})
    assert [(len(e), e.terminated, e.truncated) for e in found.episodes] == [
        (2, True, False),
        (2, False, True),
        (2, False, True),
    ]
    assert found.episodes[1].final_obs is not None
    assert np.array_equal(found.episodes[1].final_obs["observation"], rows[3] + 100)
