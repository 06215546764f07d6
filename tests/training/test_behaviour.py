"""Which episodes the policy is to behave like, and how far Q may move it."""

import dataclasses

import numpy as np
import pytest
import torch

from dtql_robot.algorithm import losses
from dtql_robot.algorithm.agent import frozen
from dtql_robot.config import Config, DataConfig, OptimConfig, PolicyConfig
from dtql_robot.config.policy import Q_WEIGHT, Q_WEIGHT_ALONE
from dtql_robot.errors import InputError
from dtql_robot.training.behaviour import ENOUGH, choose_behaviour, cut_solutions, split_returns
from dtql_robot.training.buffer import make_buffer
from dtql_robot.training.prepare import MANY_TRANSITIONS, MANY_UPDATES, prepare, resolve
from dtql_robot.types import Batch, Demonstrations, Episode
from tests.algorithm.test_agent import make_agent, random_batch, small_config

CPU = torch.device("cpu")


def relabel(demos, successes, rewards=None):
    """Many short episodes made of the first one: the flags of each, None for no label."""
    first = demos.episodes[0]
    episodes = []
    for i, flags in enumerate(successes):
        success = None if flags is None else np.array(flags + [flags[-1]] * (len(first) - len(flags)))
        reward = first.rewards if rewards is None else np.full(len(first), rewards[i], np.float32)
        episodes.append(dataclasses.replace(first, name=f"demo_{i}", success=success, rewards=reward))
    return dataclasses.replace(demos, episodes=tuple(episodes))


def test_successes_are_behaviour_and_the_critic_sees_all(demos):
    mixed = relabel(demos, [[True]] * ENOUGH + [[False]] * 40)
    chosen = choose_behaviour(mixed, "auto", "last")
    assert chosen.choice == "successes"
    assert chosen.good.sum() == len(chosen.shown) == ENOUGH
    assert len(chosen.demos) == len(mixed)
    cfg, _, buffer, said = prepare(mixed, Config(), CPU)
    assert cfg.data.behaviour == "successes"
    assert any(f"the {ENOUGH} of {len(mixed)} labelled episodes that succeed" in s for s in said)
    assert len(buffer.behaviour) == ENOUGH * len(mixed.episodes[0])
    batch = buffer.sample(16, torch.Generator().manual_seed(0))
    assert len(batch.reward) == 32


def test_the_two_halves_of_a_batch_are_all_episodes_and_the_good_ones(demos):
    mixed = relabel(demos, [[True]] * ENOUGH + [[False]] * 3 * ENOUGH)
    numbered = [
        dataclasses.replace(e, obs={"state": np.full_like(e.obs["state"], float(i))})
        for i, e in enumerate(mixed.episodes)
    ]
    mixed = dataclasses.replace(mixed, episodes=tuple(numbered))
    _, face, buffer, _ = prepare(mixed, Config(), CPU)
    obs = face.obs_norm.invert(buffer.sample(4096, torch.Generator().manual_seed(0)).obs.numpy())[:, 0]
    assert (obs[:4096] >= ENOUGH - 0.5).mean() == pytest.approx(0.75, abs=0.05)
    assert obs[4096:].max() < ENOUGH - 0.5


@pytest.mark.parametrize("policy", [{"tr_states": "behaviour"}, {"trust_region_weight": 0.0}])
def test_only_the_behaviour_is_laid_out_where_nothing_reads_the_rest(demos, policy):
    mixed = relabel(demos, [[True]] * ENOUGH + [[False]] * 40)
    _, _, buffer, _ = prepare(mixed, Config(policy=PolicyConfig(q_weight=0.0, **policy)), CPU)
    assert buffer.behaviour is None
    assert len(buffer) == ENOUGH * len(mixed.episodes[0])


def test_the_trust_region_alone_reads_the_states_of_all_episodes(demos):
    mixed = relabel(demos, [[True]] * ENOUGH + [[False]] * 40)
    cfg, _, buffer, _ = prepare(mixed, Config(policy=PolicyConfig(q_weight=0.0)), CPU)
    assert (cfg.policy.uses_critic, cfg.regularizes_all) == (False, True)
    assert len(buffer) == (ENOUGH + 40) * len(mixed.episodes[0])
    assert len(buffer.behaviour) == ENOUGH * len(mixed.episodes[0])


@pytest.mark.parametrize("q_unit", ["step", "value"])
def test_of_states_outside_the_behaviour_the_policy_learns_the_trust_region_alone(q_unit):
    cfg = small_config(policy_members=2, q_unit=q_unit)
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, behaviour="successes"))
    agent = make_agent(cfg)
    behaviour, others = random_batch(1), random_batch(2)
    noise, noise_there = (agent._noise(b, 0.5, 3.0, policy=True) for b in (behaviour, others))
    spread = torch.ones(())

    def policy_gradient(config, *arguments):
        agent.cfg = config
        with frozen(agent.denoiser, agent.q):
            return torch.autograd.grad(agent.policy_loss(*arguments)[0], list(agent.policy.parameters()))

    only = dataclasses.replace(cfg, policy=dataclasses.replace(cfg.policy, tr_states="behaviour"))
    nothing_else = dataclasses.replace(only.policy, nll_weight=0.0, q_weight=0.0)
    both = Batch(*(torch.cat(pair) for pair in zip(others, behaviour, strict=True)))
    together = policy_gradient(cfg, both, spread, noise_there.then(noise))
    alone = policy_gradient(only, behaviour, spread, noise)
    there = policy_gradient(dataclasses.replace(only, policy=nothing_else), others, spread, noise_there)
    for found, a, b in zip(together, alone, there, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(found, a + b, rtol=1e-4, atol=1e-6)


def test_all_can_be_asked_for(demos):
    mixed = relabel(demos, [[True]] * ENOUGH + [[False]] * ENOUGH)
    found = resolve(mixed, Config(data=DataConfig(behaviour="all")))
    assert found.behaviour.good.all()
    assert found.cfg.policy.awr_temperature == pytest.approx(1.5)
    assert resolve(mixed, Config()).cfg.policy.awr_temperature == 0.0


@pytest.mark.parametrize(
    ("labels", "data", "expected"),
    [
        (None, {}, Q_WEIGHT_ALONE),
        ([True], {}, Q_WEIGHT),
        ([False], {}, Q_WEIGHT),
        (None, {"behaviour": "returns"}, Q_WEIGHT),
    ],
)
def test_q_goes_further_where_nothing_else_tells_good_from_bad(demos, labels, data, expected, monkeypatch):
    """With much data and many updates only: else a critic is not to be trusted as far."""
    many = relabel(demos, [labels] * 2 * ENOUGH, [float(i >= ENOUGH) if data else 0.0 for i in range(2 * ENOUGH)])
    steps = sum(map(len, many.episodes))
    asked = Config(steps=MANY_UPDATES, data=DataConfig(**data))
    monkeypatch.setattr("dtql_robot.training.prepare.MANY_TRANSITIONS", steps)
    found = resolve(many, asked)
    assert found.cfg.policy.q_weight == expected
    assert any(s.startswith(f"q_weight {Q_WEIGHT_ALONE}") for s in found.decisions) == (expected == Q_WEIGHT_ALONE)
    chosen = dataclasses.replace(asked, policy=PolicyConfig(q_weight=0.5))
    assert resolve(many, chosen).cfg.policy.q_weight == 0.5
    in_value = dataclasses.replace(asked, policy=PolicyConfig(q_unit="value"))
    assert resolve(many, in_value).cfg.policy.q_weight == Q_WEIGHT
    short = resolve(many, dataclasses.replace(asked, steps=MANY_UPDATES - 1))
    assert short.cfg.policy.q_weight == Q_WEIGHT
    hint = f"with --steps {MANY_UPDATES} or more it would be {Q_WEIGHT_ALONE}"
    assert any(hint in s for s in short.decisions) == (expected == Q_WEIGHT_ALONE)
    monkeypatch.setattr("dtql_robot.training.prepare.MANY_TRANSITIONS", steps + 1)
    assert resolve(many, asked).cfg.policy.q_weight == Q_WEIGHT


def test_a_few_demonstrations_are_not_much_data(demos):
    assert sum(map(len, demos.episodes)) < MANY_TRANSITIONS
    assert resolve(demos, Config()).cfg.policy.q_weight == Q_WEIGHT


def test_the_learning_rate_of_a_short_training_is_told_and_that_of_others_is_not(demos):
    told = [s for s in resolve(demos, Config(steps=1_000)).decisions if s.startswith("lr ")]
    assert told == ["lr 0.0018: a training of fewer than 6,000 updates learns faster (--lr 0.0003 turns this off)."]
    for cfg in (Config(), Config(steps=20_000), Config(steps=1_000, optim=OptimConfig(lr=0.0003))):
        assert not any(s.startswith("lr ") for s in resolve(demos, cfg).decisions)


def test_recordings_that_go_on_after_success_are_all_behaviour(demos):
    mixed = relabel(demos, [[True]] * ENOUGH + [[False]] * 40)
    masks = np.arange(len(mixed.episodes[0])) > 0
    episodes = (dataclasses.replace(mixed.episodes[0], masks=masks), *mixed.episodes[1:])
    played = dataclasses.replace(mixed, episodes=episodes)
    chosen = choose_behaviour(played, "auto", "any")
    assert (chosen.choice, len(chosen.shown)) == ("all", len(mixed))
    assert "continue after the task is done" in chosen.why
    assert choose_behaviour(played, "successes", "last").choice == "successes"


def recording(done, name="recording"):
    """One that goes on: `done` has a 1 for every step that begins where the task is done."""
    steps, flags = len(done), np.array([c == "1" for c in done])
    rows = np.arange(steps, dtype=np.float32)[:, None]
    return Episode(
        name=name,
        obs={"state": rows},
        final_obs={"state": np.float32([steps])},
        actions=np.tile(rows / steps, (1, 2)),
        rewards=flags.astype(np.float32) - 1,
        terminated=False,
        truncated=True,
        success=np.append(flags[1:], False),
        extras={"qpos": rows},
        masks=~flags,
    )


@pytest.mark.parametrize(
    ("done", "parts"),
    [
        ("00000100", ["0:2", "2:6+", "6:8"]),
        ("00100100", ["0:3+", "3:6+", "6:8"]),  # the second follows where the first is done
        ("00110001", ["0:3+", "3:4", "4:8+"]),
        ("11000000", ["0:8"]),  # nothing led there
        ("11000001", ["0:4", "4:8+"]),
        ("00000000", ["0:8"]),
        ("01010101", ["0:2+", "2:4+", "4:6+", "6:8+"]),
    ],
)
def test_what_leads_to_a_solution_is_cut_out(done, parts):
    whole = recording(done)
    found = cut_solutions(whole, 3)
    shown = [f"{int(e.obs['state'][0, 0])}:{int(e.obs['state'][0, 0]) + len(e)}{'+' * good}" for e, good in found]
    assert shown == parts
    for e, good in found:
        assert e.final_obs["state"] == e.obs["state"][-1] + 1
        assert all(len(a) == len(e) for a in (e.actions, e.rewards, e.success, e.masks, e.extras["qpos"]))
        assert not good or (not e.masks[-1] and e.masks[:-1].all())
    for name in ("actions", "rewards", "success", "masks"):
        assert np.array_equal(np.concatenate([getattr(e, name) for e, _ in found]), getattr(whole, name))


def test_play_that_solves_the_task_often_enough_is_behaviour_where_it_does():
    play = Demonstrations(tuple(recording("0" * 40 + "11" + "0" * 20, f"r{i}") for i in range(ENOUGH)), "p", "ogbench")
    cfg, face, buffer, said = prepare(play, Config(data=DataConfig(horizon=2, n_action_steps=1)), CPU)
    assert cfg.data.behaviour == "solutions"
    assert any(f"which happens {ENOUGH} times" in sentence for sentence in said)
    assert len(buffer) == play.num_transitions
    assert len(buffer.behaviour) == 41 * ENOUGH
    state = face.obs_norm.invert(buffer.rows(buffer.state[buffer.behaviour]).numpy())
    assert state.max() == pytest.approx(40, abs=1e-3)
    near = choose_behaviour(play, "auto", "any", discount=0.9)
    assert {len(e) for e in near.shown.episodes} == {11}
    assert prepare(play, cfg, CPU).cfg.data.behaviour == "solutions"  # as a resumed run does
    fewer = dataclasses.replace(play, episodes=play.episodes[:-1])
    assert choose_behaviour(fewer, "auto", "any").choice == "all"
    assert len(choose_behaviour(fewer, "solutions", "any").shown) == ENOUGH - 1
    never = dataclasses.replace(play, episodes=tuple(recording("0" * 9, f"r{i}") for i in range(ENOUGH)))
    with pytest.raises(InputError, match="continues after the task is done"):
        choose_behaviour(never, "solutions", "any")


def test_of_play_a_chunk_is_carried_out_before_the_next_is_begun(demos):
    play = Demonstrations(tuple(recording("0" * 40 + "11" + "0" * 20, f"r{i}") for i in range(ENOUGH)), "p", "ogbench")
    found = resolve(play, Config())
    assert (found.cfg.data.n_action_steps, found.cfg.data.horizon) == (8, 8)
    assert any(s.startswith("n_action_steps 8: ") and "--n-action-steps 2 turns this off" in s for s in found.decisions)
    assert resolve(play, found.cfg).cfg == found.cfg  # as a resumed run does
    for data, cfg in ((play, Config(data=DataConfig(n_action_steps=3))), (demos, Config())):
        kept = resolve(data, cfg)
        assert kept.cfg.data.n_action_steps == cfg.data.executed
        assert not any("n_action_steps" in sentence for sentence in kept.decisions)
    assert DataConfig(horizon=1).executed == 1


def test_success_counts_as_the_environment_counts_it(demos):
    passing = relabel(demos, [[True, False]] * ENOUGH)
    assert resolve(passing, Config(), "AdroitHandDoor-v1").behaviour.good.all()
    assert resolve(passing, Config(), "AdroitHandDoor-v1").cfg.policy.awr_temperature == 0.0
    assert resolve(passing, Config(), "FetchPush-v4").cfg.data.behaviour == "all"


def test_episodes_without_a_label_are_left_out_beside_enough_successes(demos):
    chosen = choose_behaviour(relabel(demos, [[True]] * ENOUGH + [None] * 5), "auto", "any")
    assert len(chosen.demos) == ENOUGH
    assert "5 without a label" in chosen.why
    few = choose_behaviour(relabel(demos, [[True]] * 3 + [None] * 5), "auto", "any")
    assert few.choice == "all"
    assert len(few.demos) == 8


def test_without_labels_returns_decide_where_they_fall_into_two_groups(demos):
    rewards = [-1.0] * 60 + list(np.linspace(-0.4, -0.2, ENOUGH))
    chosen = choose_behaviour(relabel(demos, [None] * len(rewards), rewards), "auto", "any")
    assert chosen.choice == "returns"
    assert chosen.good.tolist() == [False] * 60 + [True] * ENOUGH
    even = relabel(demos, [None] * 60, np.linspace(0, 1, 60))
    assert choose_behaviour(even, "auto", "any").choice == "all"
    with pytest.raises(InputError, match="two groups"):
        choose_behaviour(even, "returns", "any")
    with pytest.raises(InputError, match="no episode"):
        choose_behaviour(even, "successes", "any")


def test_split_returns():
    rng = np.random.default_rng(0)
    assert split_returns(rng.normal(size=500)) is None
    assert split_returns(rng.uniform(size=500)) is None
    assert split_returns(np.zeros(5)) is None
    assert split_returns(np.array([0.0, 0.0, 1.0])) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_step_gain_moves_by_its_share_of_the_spread_whatever_the_unit_of_q(scale):
    """Minimize curvature * mean(d**2) - weight * curvature * step_gain: rms(d) is weight * r."""
    g = torch.Generator().manual_seed(0)
    spread = torch.rand(8, 3, generator=g) + 0.1
    action = torch.zeros(4096, 8, 3)
    recorded = spread * torch.randn(4096, 8, 3, generator=g)
    gradient = scale * torch.randn(4096, 8, 3, generator=g)
    moved = action.clone().requires_grad_()
    weight, curvature = 0.1, 6.0
    losses_at = weight * curvature * losses.step_gain(moved, gradient, recorded, torch.ones(4096, 8))
    (pull,) = torch.autograd.grad(losses_at, moved)
    step = pull * moved.numel() / (2 * curvature)
    assert (step**2).mean().sqrt().item() == pytest.approx(weight * (recorded**2).mean().sqrt().item(), rel=1e-3)
    towards = torch.nn.functional.cosine_similarity(step.flatten(), gradient.flatten(), dim=0)
    assert towards.item() == pytest.approx(1.0, abs=1e-5)


def test_step_gain_leaves_what_lies_past_the_end():
    action = torch.zeros(4, 8, 3, requires_grad=True)
    valid = torch.ones(4, 8)
    valid[1, 3:] = 0
    gain = losses.step_gain(action, torch.ones(4, 8, 3), torch.ones(4, 8, 3), valid)
    (pull,) = torch.autograd.grad(gain, action)
    assert (pull[1, 3:] == 0).all()
    assert (pull[1, :3] > 0).all()


def test_older_runs_keep_their_meaning():
    saved = Config().to_dict()
    for group, name in (("data", "behaviour"), ("policy", "q_unit"), ("optim", "denoiser_lr_scale")):
        saved[group].pop(name)
    saved["policy"].pop("tr_states")
    old = Config.from_dict(saved)
    assert old.policy.tr_states == "behaviour"
    assert (old.data.behaviour, old.policy.q_unit, old.optim.denoiser_lr_scale) == ("all", "value", 1.0)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (2.0, -1.0), (1.0, 0.5)])
def test_success_is_worth_its_reward_for_ever_and_failure_too(demos, scale, shift):
    """The value of a policy that keeps what it has, by the geometric series."""
    first = demos.episodes[0]
    steps, discount = len(first), 0.9
    cfg = DataConfig(horizon=4, n_action_steps=1, reward="success", reward_scale=scale, reward_shift=shift)
    for won in (True, False):
        success = np.zeros(steps, bool)
        success[-1] = won
        episode = dataclasses.replace(first, success=success, terminated=True, truncated=False)
        alone = dataclasses.replace(demos, episodes=(episode,))
        face = prepare(alone, Config(data=dataclasses.replace(cfg, behaviour="all")), CPU).interface
        buffer = make_buffer(alone, cfg, discount, ("state",), face.obs_norm, face.action_norm, CPU)
        a_step = scale * (0.0 if won else -1.0) + shift
        last = a_step if not won else shift  # reward of the last step itself
        assert buffer.reward[-1].item() == pytest.approx(last + discount * a_step / (1 - discount), rel=1e-5)
        assert buffer.discount[-1].item() == 0.0


def test_of_rewards_that_are_missing_q_tells_nothing(demos):
    """Zeros stand for them: more Q networks would only cost time, and the sentence about them would be untrue."""
    unlabelled = relabel(demos, [None] * 4)
    assert resolve(unlabelled, Config()).cfg.critic.q_networks == 4
    without = [dataclasses.replace(e, attrs={**e.attrs, "rewards_missing": True}) for e in unlabelled.episodes]
    found = resolve(dataclasses.replace(unlabelled, episodes=tuple(without)), Config())
    assert found.cfg.critic.q_networks == 2
    assert not any("nothing but Q tells" in sentence for sentence in found.decisions)
