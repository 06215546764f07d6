"""Algorithm 1: what each update touches, where gradients go, and that acting and state are exact."""

import copy
from dataclasses import replace

import pytest
import torch

from dtql_robot.algorithm.agent import DTQL, frozen, polyak_
from dtql_robot.algorithm.objectives import Noise
from dtql_robot.algorithm.policy_networks import GaussianPolicy
from dtql_robot.config import Config, CriticConfig, DataConfig, OptimConfig, PolicyConfig
from dtql_robot.types import Batch

OBS, ACT, HORIZON, SIZE = 5, 2, 3, 16
ONE = torch.ones(())
SMALL = {"policy_hidden": (16, 16)}


def small_config(**policy) -> Config:
    return Config(
        steps=100,
        data=DataConfig(horizon=HORIZON, n_action_steps=HORIZON),
        policy=PolicyConfig(**SMALL, **policy),
        critic=CriticConfig(critic_hidden=(16, 16)),
        optim=OptimConfig(batch_size=SIZE),
    )


def random_batch(seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    valid = torch.ones(SIZE, HORIZON)
    valid[: SIZE // 4, 1:] = 0
    return Batch(
        obs=torch.randn(SIZE, OBS, generator=g),
        action=torch.rand(SIZE, HORIZON, ACT, generator=g) * 2 - 1,
        valid=valid,
        reward=torch.randn(SIZE, generator=g),
        discount=torch.full((SIZE,), 0.9),
        next_obs=torch.randn(SIZE, OBS, generator=g),
        td_valid=torch.ones(SIZE),
    )


def make_agent(cfg: Config) -> DTQL:
    return DTQL(cfg, OBS, ACT, 0.5, torch.device("cpu"))


NETWORKS = ("q", "v", "target_q", "denoiser", "policy", "ema_policy")


def policy_noise(agent: DTQL, batch: Batch) -> Noise:
    return agent._noise(batch, agent.cfg.policy.tr_sigma_min, agent.cfg.policy.tr_sigma_max, policy=True)


def changed(before: dict, agent: DTQL) -> set[str]:
    return {
        name
        for name in NETWORKS
        if any(not torch.equal(a, b) for a, b in zip(before[name].values(), weights(agent)[name].values(), strict=True))
    }


def weights(agent: DTQL) -> dict:
    return {name: copy.deepcopy(getattr(agent, name).state_dict()) for name in NETWORKS}


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"policy_members": 3},
        {"nll": "tanh"},
        {"tr_at": "sample"},
        {"policy": "implicit", "nll": "tanh", "nll_weight": 0.0},
        {"policy": "implicit", "tr_at": "sample"},
    ],
)
def test_update_changes_every_network_and_stays_finite(policy):
    agent = make_agent(small_config(**policy))
    before = weights(agent)
    for _ in range(3):
        log = agent.update(random_batch())
    assert changed(before, agent) == set(NETWORKS)
    assert all(torch.isfinite(v) for v in log.values())


@pytest.mark.parametrize(
    ("policy", "trained"),
    [
        ({"q_weight": 0.0, "trust_region_weight": 0.0}, set()),
        ({"q_weight": 0.0}, {"denoiser"}),
        ({"trust_region_weight": 0.0}, {"q", "v", "target_q"}),
        ({"q_weight": 0.0, "trust_region_weight": 0.0, "act": "best", "nll": "tanh"}, {"q", "v", "target_q"}),
        ({"q_weight": 0.0, "trust_region_weight": 0.0, "act": "diffusion"}, {"denoiser"}),
        ({"q_weight": 0.0, "trust_region_weight": 0.0, "act": "diffusion-best"}, {"denoiser", "q", "v", "target_q"}),
    ],
)
def test_what_nothing_reads_is_not_trained(policy, trained):
    agent = make_agent(small_config(**policy))
    before = weights(agent)
    agent.update(random_batch())
    agent.update(random_batch())
    assert changed(before, agent) == trained | {"policy", "ema_policy"}


def test_pretraining_leaves_the_policy_alone():
    cfg = small_config()
    agent = make_agent(replace(cfg, optim=replace(cfg.optim, pretrain_steps=2)))
    before = weights(agent)
    agent.update(random_batch())
    agent.update(random_batch())
    assert changed(before, agent) == {"q", "v", "target_q", "denoiser"}
    agent.update(random_batch())
    assert changed(before, agent) == set(NETWORKS)


def test_policy_loss_reaches_the_policy_only():
    agent = make_agent(small_config())
    with frozen(agent.denoiser, agent.q):
        loss, _ = agent.policy_loss(random_batch(), ONE, policy_noise(agent, random_batch()))
        loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in agent.policy.parameters())
    for module in (agent.denoiser, agent.q, agent.v, agent.target_q):
        assert all(p.grad is None for p in module.parameters())
    assert all(p.requires_grad for p in agent.denoiser.parameters())


def test_critic_loss_reaches_q_and_v_only_and_ignores_unknown_targets():
    agent = make_agent(small_config())
    batch = random_batch()
    masked = batch._replace(td_valid=(torch.arange(SIZE) < 8).float())
    changed_where_unknown = masked._replace(reward=torch.where(masked.td_valid > 0, batch.reward, 1e6))
    losses = [agent.critic_loss(b)[0] for b in (masked, changed_where_unknown)]
    assert torch.equal(*losses)
    losses[0].backward()
    assert all(p.grad is not None for m in (agent.q, agent.v) for p in m.parameters())
    assert all(p.grad is None for m in (agent.denoiser, agent.policy, agent.target_q) for p in m.parameters())


def watch_means(agent: DTQL) -> list:
    """What the policy's members give in a loss, with the gradients that reach it."""
    captured, means = [], agent.policy.means

    def watched(obs):
        captured.append(means(obs))
        captured[-1].retain_grad()
        return captured[-1]

    agent.policy.means = watched
    return captured


@pytest.mark.parametrize("term", ["trust_region_weight", "nll_weight"])
def test_steps_past_the_end_teach_nothing(term):
    """What is predicted past an episode's end has no gradient from the trust region or the likelihood."""
    cfg = small_config(q_weight=0.0, **{t: 0.0 for t in ("trust_region_weight", "nll_weight") if t != term})
    agent = make_agent(cfg)
    batch = random_batch()._replace(valid=torch.tensor([[1.0, 1.0, 0.0]]).expand(SIZE, -1))
    captured = watch_means(agent)
    agent.policy_loss(batch, ONE, policy_noise(agent, batch))[0].backward()
    (out,) = captured
    direct = out.grad[..., :2, :].abs().sum()
    past_end = out.grad[..., 2, :].abs().sum()
    assert direct > 0
    if term == "nll_weight":
        assert past_end == 0
    else:  # the denoiser sees the whole chunk, so a little flows through its inputs
        assert past_end < 0.5 * direct


def test_an_ensemble_policy_is_the_mean_of_networks_that_share_nothing():
    torch.manual_seed(0)
    ensemble = GaussianPolicy(OBS, (HORIZON, ACT), (16, 8), "relu", (-5.0, 2.0), members=3)
    obs, noise = torch.randn(4, OBS), torch.randn(4, HORIZON, ACT)
    raw = []
    for i in range(3):
        alone = GaussianPolicy(OBS, (HORIZON, ACT), (16, 8), "relu", (-5.0, 2.0))
        state = {k: v[i] for k, v in ensemble.state_dict().items()}
        alone.load_state_dict({k: v.mT if k.endswith("weight") else v[0] for k, v in state.items()})
        raw.append(alone.members(obs, noise)[0])
    torch.testing.assert_close(ensemble.members(obs, noise), torch.stack(raw))
    torch.testing.assert_close(ensemble(obs, noise), torch.tanh(sum(raw) / 3))
    torch.testing.assert_close(ensemble.mode(obs), ensemble(obs, torch.zeros_like(noise)))


@pytest.mark.parametrize("term", ["trust_region_weight", "q_weight", "nll_weight"])
def test_each_member_answers_for_recorded_actions_and_their_mean_for_the_rest(term):
    """Trust region and Q push all members alike; the likelihood pushes each from where it is to the recorded action."""
    terms = ("trust_region_weight", "q_weight", "nll_weight")
    agent = make_agent(small_config(policy_members=3, **{t: float(t == term) for t in terms}))
    captured = watch_means(agent)
    batch = random_batch()
    agent.policy_loss(batch, ONE, policy_noise(agent, batch))[0].backward()
    (out,) = captured
    grad = out.grad
    assert grad.abs().max() > 0
    if term != "nll_weight":
        torch.testing.assert_close(grad, grad.mean(dim=0, keepdim=True).expand_as(grad))
        return
    action = torch.tanh(out.detach())
    slope = (action - batch.action) * (1 - action**2) * batch.valid[..., None]
    torch.testing.assert_close(grad, 2 * slope / grad.numel())


def test_q_normalization_makes_weights_mean_the_same_on_every_reward_scale():
    agent = make_agent(small_config(nll_weight=0.0))
    noise = policy_noise(agent, random_batch())
    grads = []
    for scale in (1.0, 100.0):
        with torch.no_grad():
            head = agent.q.net[-1]
            head.weight.mul_(scale)
            head.bias.mul_(scale)
        agent.policy.zero_grad()
        _, log = agent.critic_loss(random_batch())
        with frozen(agent.denoiser, agent.q):
            agent.policy_loss(random_batch(), log["q_spread"].detach(), noise)[0].backward()
        grads.append(torch.cat([p.grad.flatten() for p in agent.policy.parameters()]))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-6)


def test_polyak_moves_the_target_by_tau():
    a, b = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = 0.9 * a.weight.detach() + 0.1 * b.weight.detach()
    polyak_(a, b, 0.1)
    torch.testing.assert_close(a.weight.detach(), expected)


def test_state_dict_continues_exactly():
    first = make_agent(small_config())
    for i in range(3):
        first.update(random_batch(i))
    second = make_agent(small_config())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for i in range(3, 6):
        first.update(random_batch(i))
        second.update(random_batch(i))
    for name in NETWORKS:
        for a, b in zip(weights(first)[name].values(), weights(second)[name].values(), strict=True):
            assert torch.equal(a, b), name


@pytest.mark.slow
def test_learning_rate_follows_the_cosine():
    agent = make_agent(replace(small_config(), optim=OptimConfig(batch_size=SIZE, lr=3e-4)))
    rates = []
    for _ in range(100):
        agent.update(random_batch())
        rates.append(agent.optimizers["policy"].param_groups[0]["lr"])
    assert rates[0] == pytest.approx(3e-4)
    assert rates[50] == pytest.approx(1.5e-4)
    assert rates[-1] < 1e-6


@pytest.mark.parametrize(("steps", "lr"), [(1, 2e-3), (900, 2e-3), (1_500, 1.2e-3), (6_000, 3e-4), (1_000_000, 3e-4)])
def test_a_short_training_learns_faster(steps, lr):
    cfg = replace(small_config(), steps=steps)
    assert cfg.lr == pytest.approx(lr)
    assert cfg.lr == 3e-4 or steps < 6_000
    agent = make_agent(cfg)
    agent.schedule()
    rates = {name: o.param_groups[0]["lr"] for name, o in agent.optimizers.items()}
    assert rates == {"critic": 3e-4, "denoiser": 3 * cfg.lr, "policy": cfg.lr}
    assert replace(cfg, optim=OptimConfig(lr=1e-4)).lr == 1e-4


def test_a_run_that_says_nothing_of_the_learning_rate_had_the_former_one():
    assert Config.from_dict({"steps": 500, "optim": {}}).lr == 3e-4
    assert Config.from_dict(Config(steps=500).to_dict()).lr == 2e-3


@pytest.mark.slow
def test_clones_a_bimodal_behaviour_into_one_mode():
    """Data at -0.7 and +0.7: the mean (0) is outside; trust region and Q find the better mode."""
    cfg = Config(
        steps=1500,
        data=DataConfig(horizon=1, n_action_steps=1),
        policy=PolicyConfig(policy_hidden=(64, 64), nll_weight=0.0, tr_sigma_min=0.1, tr_sigma_max=1.0),
        critic=CriticConfig(critic_hidden=(64, 64)),
        optim=OptimConfig(lr=1e-3, ema_decay=0.9),
    )
    agent = DTQL(cfg, 1, 1, 0.7, torch.device("cpu"))
    g = torch.Generator().manual_seed(0)
    for _ in range(cfg.steps):
        sign = torch.randint(0, 2, (128, 1, 1), generator=g) * 2.0 - 1
        action = 0.7 * sign + 0.02 * torch.randn(128, 1, 1, generator=g)
        zeros, ones = torch.zeros(128), torch.ones(128)
        obs = torch.zeros(128, 1)
        agent.update(Batch(obs, action, ones[:, None], sign.flatten(), zeros, obs, ones))
    chosen = agent.ema_policy(torch.zeros(1, 1), torch.zeros(1, 1, 1)).item()
    assert chosen == pytest.approx(0.7, abs=0.1)


@pytest.mark.parametrize("policy", [{}, {"policy": "implicit"}])
def test_mode_is_the_policy_without_noise(policy):
    agent = make_agent(small_config(**policy))
    obs = random_batch().obs
    torch.testing.assert_close(agent.policy.mode(obs), agent.policy(obs, torch.zeros(SIZE, HORIZON, ACT)))
