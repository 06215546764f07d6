"""Settings that cannot be are refused when they are made, in the words of the place."""

import pickle

import numpy as np
import pytest
import torch

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.cli import main
from dtql_robot.config import (
    Config,
    CriticConfig,
    DataConfig,
    DiffusionConfig,
    EncoderConfig,
    OptimConfig,
    PolicyConfig,
)
from dtql_robot.config.checks import SettingError
from dtql_robot.errors import InputError
from dtql_robot.presets import PRESETS, preset

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("group", "settings", "sentence"),
    [
        (
            PolicyConfig,
            {"act": "typo"},
            "act is 'typo'; expected sample, mean, best, softmax,",
        ),
        (PolicyConfig, {"act": "meen"}, "did you mean mean?"),
        (PolicyConfig, {"policy_hidden": (256, 0)}, "policy_hidden is (256, 0); expected each entry at least 1."),
        (PolicyConfig, {"policy_hidden": 256}, "policy_hidden is 256; expected a tuple of whole numbers."),
        (PolicyConfig, {"policy_hidden": (2.5,)}, "expected a tuple of whole numbers"),
        (PolicyConfig, {"normalize_q": 1}, "normalize_q is 1; expected True or False."),
        (PolicyConfig, {"q_weight": True}, "q_weight is True; expected a finite number or None."),
        (PolicyConfig, {"q_weight": "0.1"}, "q_weight is '0.1'; expected a finite number or None."),
        (PolicyConfig, {"awr_temperature": -1}, "awr_temperature is -1; expected at least 0."),
        (PolicyConfig, {"log_std_max": 1e3}, "log_std_max is 1000.0; expected at most 20."),
        (DataConfig, {"obs_keys": "object"}, "obs_keys is 'object'; expected a tuple of texts."),
        (DataConfig, {"horizon": True}, "horizon is True; expected a whole number."),
        (DataConfig, {"horizon": 8.0}, "horizon is 8.0; expected a whole number."),
        (DataConfig, {"reward_shift": NAN}, "reward_shift is nan; expected a finite number."),
        (DiffusionConfig, {"sigma_max": INF}, "sigma_max is inf; expected a finite number."),
        (DiffusionConfig, {"sigma_min": 1e-300}, "sigma_min is 1e-300; expected at least 1e-06."),
        (CriticConfig, {"critic_hidden": [0]}, "critic_hidden is (0,); expected each entry at least 1."),
        (CriticConfig, {"discount": None}, "discount is None; expected a finite number."),
        (OptimConfig, {"lr": INF}, "lr is inf; expected a finite number or None."),
        (OptimConfig, {"lr": 10**400}, "lr is a number of more than 38 digits; expected a finite number or None."),
        (OptimConfig, {"batch_size": 10**12}, "expected at most 10_000_000."),
        (EncoderConfig, {"encoder_losses": ("critic", "polcy")}, "expected a tuple of critic, denoiser, policy"),
        (EncoderConfig, {"backbone_weights": 3}, "backbone_weights is 3; expected text or None."),
        (Config, {"seed": -1}, "seed is -1; expected at least 0."),
        (Config, {"seed": 2**64}, "expected at most 9_223_372_036_854_775_807."),
        (Config, {"threads": 100_000}, "threads is 100000; expected at most 512."),
        (Config, {"optim": {"lr": 1e-3}}, "optim is {'lr': 0.001}; expected OptimConfig."),
        (Config, {"device": "quantum"}, "device is 'quantum'; expected auto, cpu or cuda."),
    ],
)
def test_a_wrong_value_is_one_sentence_when_it_is_made(group, settings, sentence):
    with pytest.raises(InputError) as caught:
        group(**settings)
    assert sentence in str(caught.value)
    assert "--" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_values_of_another_type_that_say_the_same_are_taken():
    made = DataConfig(obs_keys=["a", "b"], horizon=np.int64(4), n_action_steps=2, reward_scale=np.float32(0.5))
    assert made == DataConfig(obs_keys=("a", "b"), horizon=4, n_action_steps=2, reward_scale=0.5)
    assert type(made.horizon) is int
    assert hash(made) == hash(DataConfig(obs_keys=("a", "b"), horizon=4, n_action_steps=2, reward_scale=0.5))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--lr inf", "--lr is inf; expected a finite number or no value."),
        ("--seed 18446744073709551616", "--seed is 18446744073709551616; expected at most"),
        ("--critic-hidden 256 0", "--critic-hidden is 256 0; expected each entry at least 1."),
        ("--threads 100000", "--threads is 100000; expected at most 512."),
        ("--awr-temperature=-1", "--awr-temperature is -1.0; expected at least 0."),
        ("--horizon 2 --n-action-steps 3", "--n-action-steps is 3; expected 1 to --horizon."),
        (
            "--act best",
            "--act is best; expected mean or diffusion, since nothing trains the noise: that takes "
            "--tr-at sample or --nll tanh.",
        ),
    ],
)
def test_the_command_line_names_options(options, sentence, tmp_path, capsys):
    assert main(["train", "--data", str(tmp_path / "none.hdf5"), "--out", str(tmp_path / "run"), *options.split()]) == 2
    printed = capsys.readouterr().err.strip()
    assert printed.startswith(f"dtql-robot train: {sentence}")
    assert "\n" not in printed


@pytest.mark.parametrize("act", ["sample", "best", "softmax"])
def test_noise_that_nothing_trains_does_not_act(act):
    for settings in ({}, {"policy": "implicit"}, {"nll": "tanh", "nll_weight": 0.0}):
        with pytest.raises(InputError, match="nothing trains the noise"):
            PolicyConfig(act=act, **settings)
    for settings in ({"nll": "tanh"}, {"tr_at": "sample"}, {"policy": "implicit", "tr_at": "sample"}):
        assert PolicyConfig(act=act, **settings).trains_noise


def test_what_trains_noise_is_what_has_a_gradient():
    """Against the gradient of the log standard deviation's half of the policy's last layer."""
    batch_of = pytest.importorskip("tests.algorithm.test_agent")
    for settings in ({}, {"nll": "tanh"}, {"tr_at": "sample"}, {"tr_at": "sample", "trust_region_weight": 0.0}):
        agent = batch_of.make_agent(batch_of.small_config(policy_members=1, **settings))
        before = agent.policy.net[-1].bias.detach().clone()
        for i in range(3):
            agent.update(batch_of.random_batch(i))
        half = len(before) // 2
        moved = not torch.equal(before[half:], agent.policy.net[-1].bias[half:])
        assert moved == agent.cfg.policy.trains_noise, settings


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_passes(name):
    assert preset(name).policy is not None


def test_networks_beyond_memory_are_refused_before_they_are_made():
    wide = Config(critic=CriticConfig(critic_hidden=(16_384,) * 300))
    with pytest.raises(SettingError, match=r"critic_hidden is .*GiB of memory, of which \d+ GiB are free"):
        DTQL(wide, 5, 2, 0.5, torch.device("cpu"))
    large = Config(optim=OptimConfig(batch_size=10_000_000), critic=CriticConfig(critic_hidden=(16_384,)))
    with pytest.raises(SettingError, match="batch_size is 10000000; expected less"):
        DTQL(large, 5, 2, 0.5, torch.device("cpu"))


def test_a_file_that_holds_a_wrong_value_is_named():
    with pytest.raises(InputError, match=r"config\.optim: lr is 'fast'; expected a finite number"):
        Config.from_dict({"optim": {"lr": "fast"}})
    with pytest.raises(InputError, match="does not know"):
        Config.from_dict([1])
