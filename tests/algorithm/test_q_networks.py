"""More than two Q networks: two judge, all of them say where Q rises."""

import dataclasses

import numpy as np
import pytest
import torch

from dtql_robot.algorithm.networks import smaller
from dtql_robot.config import Config, CriticConfig
from dtql_robot.config.checks import SettingError
from dtql_robot.presets import PRESETS, preset
from dtql_robot.training.prepare import Q_NETWORKS_ALONE, resolve
from tests.algorithm.test_agent import make_agent, policy_noise, random_batch, small_config


def of(count: int) -> Config:
    cfg = small_config(q_weight=0.5)
    return dataclasses.replace(cfg, critic=dataclasses.replace(cfg.critic, q_networks=count))


def test_the_first_two_judge():
    q = torch.tensor([[3.0, 1.0], [2.0, 5.0], [-9.0, -9.0]])
    assert smaller(q).tolist() == [2.0, 1.0]
    agent, batch = make_agent(of(4)), random_batch()
    with torch.no_grad():
        q, v = agent.q(batch.obs, batch.action), agent.v(batch.obs)
        regressed = torch.minimum(*agent.target_q(batch.obs, batch.action)[:2])
        target = batch.reward + batch.discount * agent.v(batch.next_obs)
    assert q.shape == (4, len(batch.obs))
    loss, log = agent.critic_loss(batch)
    weight = torch.where(regressed < v, 0.3, 0.7)
    torch.testing.assert_close(log["v_loss"], (weight * (regressed - v) ** 2).mean())
    torch.testing.assert_close(log["q_loss"], ((target - q) ** 2).sum(dim=0).mean())
    torch.testing.assert_close(loss, log["v_loss"] + log["q_loss"])


def direction(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(where the gain moves the policy's action, gradient of each Q there, values of each Q); flat in the chunk."""
    agent, batch = make_agent(of(count)), random_batch()
    action = (0.5 * batch.action).requires_grad_()
    gain, _ = agent._gain(action, batch, policy_noise(agent, batch).sigma)
    (moved,) = torch.autograd.grad(gain, action)
    q = agent.q(batch.obs, action)
    each = [torch.autograd.grad(one.sum(), action, retain_graph=True)[0] for one in q]
    known = batch.valid[..., None]
    return (moved * known).flatten(), torch.stack([(g * known).flatten() for g in each]), q.detach()


def alike(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.cosine_similarity(a.double(), b.double(), dim=0).item()


def test_of_four_the_policy_moves_along_the_mean_gradient():
    moved, each, _ = direction(4)
    assert alike(moved, each.mean(dim=0)) == pytest.approx(1.0, abs=1e-5)
    assert max(alike(moved, one) for one in each) < 0.99


def test_of_two_it_moves_along_that_of_the_smaller():
    moved, each, q = direction(2)
    first = (q.argmin(dim=0) == 0).repeat_interleave(each.shape[1] // q.shape[1])
    assert alike(moved, torch.where(first, *each)) == pytest.approx(1.0, abs=1e-5)
    assert alike(moved, each.mean(dim=0)) < 0.99


def test_an_update_trains_all_and_weights_come_back():
    agent, batch = make_agent(of(4)), random_batch()
    before = agent.q.state_dict()["net.0.weight"].clone()
    agent.update(batch)
    changed = (agent.q.state_dict()["net.0.weight"] != before).flatten(1).any(dim=1)
    assert changed.tolist() == [True] * 4
    again = make_agent(of(4))
    again.load_state_dict(agent.state_dict())
    torch.testing.assert_close(again.q(batch.obs, batch.action), agent.q(batch.obs, batch.action))


def test_fewer_than_two_are_refused():
    with pytest.raises(SettingError):
        CriticConfig(q_networks=1)


@pytest.mark.parametrize(
    ("success", "settings", "expected"),
    [
        (None, {}, Q_NETWORKS_ALONE),
        (None, {"q_weight": 0.0}, 2),  # nothing moves along it
        (None, {"q_unit": "value"}, 2),  # nor here: the smaller of two is the loss
        (True, {}, 2),
    ],
)
def test_where_nothing_else_tells_what_is_good_there_are_four(demos, success, settings, expected):
    flags = [None if success is None else np.full(len(e), success) for e in demos.episodes]
    episodes = [dataclasses.replace(e, success=s) for e, s in zip(demos.episodes, flags, strict=True)]
    found = resolve(dataclasses.replace(demos, episodes=tuple(episodes)), small_config(**settings))
    assert found.cfg.critic.q_networks == expected
    assert any("q_networks 4" in s for s in found.decisions) == (expected == Q_NETWORKS_ALONE)
    asked = dataclasses.replace(small_config(**settings), critic=CriticConfig(q_networks=3))
    assert resolve(demos, asked).cfg.critic.q_networks == 3


def test_runs_of_before_and_the_baselines_have_two():
    old = Config().to_dict()
    del old["critic"]["q_networks"]
    assert Config.from_dict(old).critic.q_networks == 2
    assert {name for name in PRESETS if preset(name).critic.q_networks != 2} == {"no-q"}
