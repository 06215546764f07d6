"""The paper's presets, as they are shipped, compute what the paper says: losses and weights over ten updates."""

import pytest
import torch

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.algorithm.denoiser_networks import SinusoidalEmbedding
from dtql_robot.presets import preset
from dtql_robot.types import Batch
from tests.helpers.paper_oracle import DISCOUNT, PRETRAINING, Numbers, Oracle

ROWS = {
    "hopper-medium-v2": (11, 3, Numbers(1e-4, 5.0, 0.0, True, 1_000_000, 0.7)),
    "antmaze-large-diverse-v2": (29, 8, Numbers(3e-4, 0.5, 1.0, False, 300_000, 0.9)),
    "pen-human-v1": (45, 24, Numbers(3e-5, 1500.0, 0.0, True, 300_000, 0.9)),
    "kitchen-complete-v0": (60, 9, Numbers(1e-4, 200.0, 0.0, True, 500_000, 0.7)),
}
"""Observation and action dimensions, and the numbers of the paper's tables."""


def layers(state, prefix, member=None):
    """A network's linear layers in order, (in, out) weights, with the gain and shift of the norm that follows each."""
    found = []
    for key, value in state.items():
        if not key.startswith(prefix):
            continue
        value = value if member is None else value[member]
        kind = key.rpartition(".")[2]
        if kind == "weight" and value.dim() == 2 and (member is None or value.shape[0] > 1):
            found.append({"weight": value if member is not None else value.T})
        elif kind == "bias" and "bias" not in found[-1]:
            found[-1]["bias"] = value.flatten()
        else:
            found[-1]["gain" if kind == "weight" else "shift"] = value.flatten()
    return found


def networks(agent):
    state = {name: network.state_dict() for name, network in agent.networks.items()}
    denoiser = {n: layers(state[n], "") for n in ("denoiser", "fake") if n in state}
    policy = layers(state["policy"], "")
    critics = {f"q{i + 1}": layers(state["q"], "net", i) for i in range(2)}
    return {**critics, "v": layers(state["v"], "net"), **denoiser, "policy": policy}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "partner"), [*((name, False) for name in ROWS), ("hopper-medium-v2", True)])
def test_ten_updates_of_a_shipped_preset_are_the_papers(name, partner, monkeypatch):
    obs_dim, action_dim, numbers = ROWS[name]
    cfg = preset(f"paper-kl:{name}" if partner else f"paper:{name}")
    if partner:
        numbers = Numbers(**{**numbers.__dict__, "gamma": 0.0, "kl": True})
    agent = DTQL(cfg, obs_dim, action_dim, cfg.diffusion.sigma_data, torch.device("cpu"))
    for network in agent.networks.values():
        network.double()
        for module in network.modules():
            if isinstance(module, SinusoidalEmbedding):  # made in float32
                module.frequencies = 10_000 ** (-torch.arange(8).double() / 7)
    agent.step = PRETRAINING - 3  # so that the end of pretraining is among the updates
    oracle = Oracle(numbers, networks(agent), agent.step)
    drawn = []
    for kind in ("_normal", "_uniform"):
        draw = getattr(agent, kind)
        monkeypatch.setattr(agent, kind, lambda like, draw=draw: drawn.append(draw(like)) or drawn[-1])
    generator = torch.Generator().manual_seed(7)
    size = cfg.optim.batch_size
    for _ in range(13):
        obs, next_obs = (torch.randn(size, obs_dim, dtype=torch.float64, generator=generator) for _ in range(2))
        action = 2 * torch.rand(size, action_dim, dtype=torch.float64, generator=generator) - 1
        reward, ones = torch.randn(size, dtype=torch.float64, generator=generator), torch.ones(size).double()
        drawn.clear()
        log = agent.update(Batch(obs, action[:, None], ones[:, None], reward, DISCOUNT * ones, next_obs, ones))
        noise = iter(d.flatten(1) if d.dim() > 1 else d for d in drawn)
        oracle.iterate(obs, action, reward, next_obs, lambda noise=noise: next(noise))
        assert not list(noise)
        known = {"kl" if partner else "trust_region": "regularizer"}
        mine = {known.get(k, k): v.item() for k, v in log.items() if known.get(k, k) in oracle.losses}
        assert mine.keys() == oracle.losses.keys()
        assert mine == pytest.approx(oracle.losses, rel=1e-10, abs=1e-10)
    for network, expected in oracle.net.items():
        found = networks(agent).get(network)
        if found is None:
            found = layers(agent.target_q.state_dict(), "net", int(network[-1]) - 1)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert a.keys() == b.keys()
            for key in a:
                assert (a[key] - b[key]).abs().max() < 1e-10, (network, key)
    raw, acting = agent.policy.state_dict(), agent.ema_policy.state_dict()
    assert all(torch.equal(raw[k], acting[k]) for k in raw)  # the last weights act
