"""The weights that a seed gives are part of every result: they must not change with the code around them."""

import hashlib

import pytest
import torch

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.algorithm.model import Model, make_networks, make_policy
from dtql_robot.algorithm.policy_networks import ImplicitPolicy
from dtql_robot.config import Config, PolicyConfig
from dtql_robot.presets import ONE_NETWORK, override

CPU = torch.device("cpu")
KL = {"policy.policy": "implicit", "policy.regularizer": "kl", "policy.nll_weight": 0.0}
CASES = {
    "default": ({}, None, "bfa3284f8cc67f50", 0.3024056553840637),
    "kl": (KL, None, "68375ea9c492f84f", 0.0397951602935791),
    "ensemble": ({"policy.policy_members": 3}, None, "1702e65865ce0eab", 0.1563512086868286),
    "mlp": (
        {"diffusion.denoiser_net": "mlp", "optim.activation": "mish"},
        None,
        "8f2974ea3b17317c",
        0.8949277400970459,
    ),
    "pixels": ({"encoder.share_networks": False}, {"front_image": (40, 40, 3)}, None, 0.33026617765426636),
}
"""Settings, images, and what version 0.1.0 made of seed 3: a checksum of names and weights, and the number that torch's
generator gives afterwards.  Normal numbers, which convolutions start from, are not the same on every processor."""


def digest(networks: dict) -> str:
    found = hashlib.sha256()
    for name, network in networks.items():
        for key, value in network.state_dict().items():
            found.update(f"{name}.{key}".encode() + value.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("case", CASES)
def test_a_seed_gives_the_weights_that_it_always_gave(case):
    settings, images, checksum, following = CASES[case]
    cfg = override(Config(seed=3, device="cpu"), {**ONE_NETWORK, **settings})
    agent = DTQL(cfg, 5, 2, 0.5, CPU, images)
    assert torch.rand(1).item() == following
    if checksum is not None:
        assert digest(agent.networks) == checksum
    alone = Model(cfg, make_networks(cfg, 5, 2, 0.5, CPU, images), CPU)
    assert digest(alone.networks) == digest(agent.networks)


def test_a_model_for_acting_has_no_optimizer():
    cfg = Config(device="cpu")
    model = Model(cfg, make_networks(cfg, 5, 2, 0.5, CPU), CPU)
    assert not any(isinstance(v, torch.optim.Optimizer | torch.Generator) for v in vars(model).values())
    agent = DTQL(Config(seed=1, device="cpu"), 5, 2, 0.5, CPU)
    model.load_networks(agent.state_dict()["networks"])
    assert digest(model.networks) == digest(agent.networks)


@pytest.mark.parametrize("members", [1, 4])
def test_candidates_of_one_state_are_what_the_policy_gives_for_each_draw(members):
    cfg = Config(policy=PolicyConfig(policy_members=members))
    obs, noise = torch.randn(1, 5), torch.randn(16, cfg.data.horizon, 3)
    for policy in (make_policy(cfg, 5, 3, 0.5), ImplicitPolicy(5, (cfg.data.horizon, 3), (32, 32), "mish")):
        expected = policy(obs.expand(16, -1), noise)
        torch.testing.assert_close(policy.candidates(obs, noise), expected)
        assert expected.std(dim=0).min() > 0
