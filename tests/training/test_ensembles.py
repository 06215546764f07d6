"""Several agents updated at once equal agents of their own."""

import dataclasses
import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.presets import override, preset
from dtql_robot.training.ensemble import Ensemble, ParallelEnsembles
from tests.algorithm.test_agent import make_agent, random_batch, small_config
from tests.training.test_fast_paths import IMPLICIT, PAPER, SAMPLED, assert_same_weights, stacked


def make_agents(cfg, seeds):
    return [make_agent(dataclasses.replace(cfg, seed=s)) for s in seeds]


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy", [{}, SAMPLED, IMPLICIT, {"policy_members": 3}, {"awr_temperature": 1.0}, {"q_weight": 0.0}]
)
def test_an_ensembles_members_equal_agents_of_their_own(policy):
    cfg = small_config(**policy)
    cfg = dataclasses.replace(cfg, optim=dataclasses.replace(cfg.optim, pretrain_steps=2, obs_noise=0.1, lr=3e-4))
    alone, members = make_agents(cfg, (3, 5, 7)), make_agents(cfg, (3, 5, 7))
    ensemble = Ensemble(members)
    for i in range(8):
        batches = [random_batch(10 * i + j) for j in range(3)]
        logs = [agent.update(b) for agent, b in zip(alone, batches, strict=True)]
        log = ensemble.update(stacked(batches))
        for key, values in log.items():
            torch.testing.assert_close(values.expand(3), torch.stack([one[key] for one in logs]), rtol=1e-3, atol=1e-4)
    ensemble.scatter()
    for one, member in zip(alone, members, strict=True):
        assert member.step == one.step == 8
        assert_same_weights(one, member, 1e-4)
        assert torch.equal(one.generator.get_state(), member.generator.get_state())


@pytest.fixture
def threads():
    """Sets torch's threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "parts"), [(2, 2), (3, 1), (4, 4)])
def test_ensembles_in_parallel_equal_agents_of_their_own(threads, count, parts):
    """Four seeds in as many threads as divide both."""
    cfg = small_config(**SAMPLED)
    cfg = dataclasses.replace(cfg, optim=dataclasses.replace(cfg.optim, pretrain_steps=2, obs_noise=0.1, lr=3e-4))
    alone, members = make_agents(cfg, (3, 5, 7, 8)), make_agents(cfg, (3, 5, 7, 8))
    threads(count)
    together = ParallelEnsembles(members)
    assert [len(part) for part in together.parts] == [4 // parts] * parts
    for i in range(8):
        batches = [random_batch(10 * i + j) for j in range(4)]
        logs = [agent.update(b) for agent, b in zip(alone, batches, strict=True)]
        log = together.update(stacked(batches))
        for key, values in log.items():
            torch.testing.assert_close(values, torch.stack([one[key] for one in logs]), rtol=1e-3, atol=1e-4)
    together.scatter()
    together.close()
    assert torch.get_num_threads() == count
    for one, member in zip(alone, members, strict=True):
        assert member.step == one.step == 8
        assert_same_weights(one, member, 1e-4)
        assert torch.equal(one.generator.get_state(), member.generator.get_state())


@pytest.mark.slow
def test_an_interrupted_part_waits_for_the_others(threads, monkeypatch):
    threads(2)
    together = ParallelEnsembles(make_agents(small_config(), (0, 1)))
    first = together.parts[0].update
    together.update(stacked([random_batch(0), random_batch(1)]))

    def interrupted(batch):
        first(batch)
        raise KeyboardInterrupt

    monkeypatch.setattr(together.parts[0], "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        together.update(stacked([random_batch(0), random_batch(1)]))
    together.close()
    assert [part.step for part in together.parts] == [2, 2]


def test_an_ensemble_goes_on_from_its_members():
    """Stacked again after `scatter`, it takes the same steps: weights, moments and counts all travel."""
    cfg = small_config()
    whole, parts = Ensemble(make_agents(cfg, (0, 1))), Ensemble(make_agents(cfg, (0, 1)))
    for i in range(6):
        batch = stacked([random_batch(2 * i), random_batch(2 * i + 1)])
        if i == 3:
            parts.scatter()
            parts = Ensemble(parts.agents)
        whole.update(batch)
        parts.update(batch)
    assert_same_weights(whole, parts, 0.0)


def test_a_members_checkpoint_holds_no_more_than_a_single_one():
    ensemble = Ensemble(make_agents(small_config(), (0, 1, 2)))
    ensemble.update(stacked([random_batch(i) for i in range(3)]))
    ensemble.scatter()
    for state in ensemble.agents[1].state_dict()["optimizers"].values():
        for values in state["state"].values():
            assert values["exp_avg"].untyped_storage().nbytes() == 4 * values["exp_avg"].numel()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("together", [Ensemble, ParallelEnsembles])
def test_a_compiled_ensemble_equals_eager_agents(threads, together):
    """With the paper's networks, a layer each, to 1e-4 after five updates."""
    one_layer = {"policy.policy_hidden": (16,), "critic.critic_hidden": (16,), "diffusion.denoiser_blocks": 1}
    cfg = override(preset("paper"), PAPER | one_layer)
    alone = [DTQL(dataclasses.replace(cfg, seed=s), 5, 2, 0.5, torch.device("cpu")) for s in (0, 1)]
    threads(2)
    members = [DTQL(dataclasses.replace(cfg, seed=s), 5, 2, 0.5, torch.device("cpu")) for s in (0, 1)]
    ensemble = together(members)
    counters.clear()
    ensemble.compile_losses()
    for i in range(5):
        batches = [b._replace(action=b.action[:, :1], valid=b.valid[:, :1]) for b in map(random_batch, (i, i + 9))]
        for agent, b in zip(alone, batches, strict=True):
            agent.update(b)
        ensemble.update(stacked(batches))
    assert counters["frames"]["ok"] >= 3  # critic, denoiser and policy losses were compiled, not run as they are
    ensemble.scatter()
    for one, member in zip(alone, members, strict=True):
        assert_same_weights(one, member, 1e-4)
