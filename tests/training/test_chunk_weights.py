"""The weights of chunks that foresaw the same action, fitted to demonstrations."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.config import Config, DataConfig, PolicyConfig
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.normalize import identity
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.training import chunk_weights
from dtql_robot.training.buffer import ChunkBuffer
from dtql_robot.training.chunk_weights import even_weights, fit_chunk_weights, weights_of


@pytest.fixture
def unshrunk(monkeypatch):
    monkeypatch.setattr(chunk_weights, "SHRINKAGE", 0.0)


def test_independent_errors_count_by_their_inverse_variance(unshrunk):
    weights = weights_of(np.diag([1.0, 2.0, 4.0, 4.0]))
    np.testing.assert_allclose(weights[0], [0.5, 0.25, 0.125, 0.125], atol=1e-6)
    # two executed: the newest chunk's errors 1 and 2 steps ahead against those of the one before, 3 and 4
    np.testing.assert_allclose(weights[1], [8 / 11, 3 / 11], atol=1e-6)
    # three executed: the chunk before foresaw the first of them alone
    np.testing.assert_allclose(weights[2], [0.8, 0.2], atol=1e-6)
    assert weights[3] == (1.0,)


def test_no_other_weights_have_a_smaller_error(unshrunk):
    rng = np.random.default_rng(0)
    grid = [w for w in itertools.product(np.linspace(0, 1, 21), repeat=3) if abs(sum(w) - 1) < 1e-9]
    left_out = 0
    for _ in range(30):
        root = rng.normal(size=(3, 3))
        products = root @ root.T
        found = np.array(weights_of(products)[0])
        assert found.sum() == pytest.approx(1)
        assert found.min() >= 0
        left_out += found.min() == 0
        assert found @ products @ found <= min(np.array(w) @ products @ np.array(w) for w in grid) + 1e-6
    assert left_out > 5


def test_small_differences_leave_the_weights_even():
    """Errors that chunks share count for nothing, and where the rest is small beside them, all chunks count."""
    own = np.diag([1.0, 2.0, 4.0, 4.0])
    alike, apart = (np.array(weights_of(shared + own)[0]) for shared in (1e4, 1.0))
    assert np.ptp(alike) < 0.01
    assert apart[0] > 0.4
    assert (np.diff(alike) <= 1e-9).all()


class Oracle(torch.nn.Module):
    """Foresees the action of state t + j, which is t + j, with an error of deviation `spread[j]`."""

    def __init__(self, spread):
        super().__init__()
        self.spread = spread

    def mode(self, obs):
        ahead = np.arange(len(self.spread))
        errors = [np.random.default_rng(int(t)).normal(size=len(ahead)) * self.spread for t in obs[:, 0]]
        return torch.from_numpy(obs[:, :1].numpy() + ahead + np.array(errors)).float()[:, :, None]


def buffer(lengths, horizon):
    """Episodes of these lengths in which action t is the number t, seen as the state."""
    total = sum(lengths)
    last = np.repeat(np.cumsum(lengths) - 1, lengths)
    numbers, zeros = torch.arange(total), torch.zeros(total)
    states = torch.arange(total + 1.0)[:, None]
    return ChunkBuffer(
        states, numbers[:, None].float(), numbers, torch.from_numpy(last), numbers, zeros, zeros, zeros, horizon
    )


def agent(**policy):
    cfg = Config(data=DataConfig(horizon=4, n_action_steps=2), policy=PolicyConfig(**policy))
    return DTQL(cfg, 1, 1, 0.5, torch.device("cpu"))


@pytest.mark.slow
def test_what_chunks_foresaw_is_held_against_what_was_done(unshrunk):
    seer = agent()
    seer.ema_policy = Oracle(np.array([1.0, 1.0, 2.0, 2.0]))
    weights = fit_chunk_weights(seer, buffer([3000, 2, 4000], 4))
    np.testing.assert_allclose(weights[0], [0.4, 0.4, 0.1, 0.1], atol=0.03)
    np.testing.assert_allclose(weights[1], [0.8, 0.2], atol=0.03)
    assert fit_chunk_weights(seer, buffer([3000, 2, 4000], 4)) == weights


def test_demonstrations_shorter_than_a_chunk_give_even_weights():
    assert fit_chunk_weights(agent(), buffer([3, 2], 4)) == even_weights(4)
    assert even_weights(3) == ((1 / 3,) * 3, (1 / 2,) * 2, (1.0,))


def test_the_denoiser_is_what_counts_where_it_acts():
    diffusion, one_step = agent(act="diffusion"), agent()
    before = torch.get_rng_state()
    assert fit_chunk_weights(diffusion, buffer([40], 4)) != fit_chunk_weights(one_step, buffer([40], 4))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_policy_takes_the_weights_of_its_number_of_steps():
    weights = ((0.4, 0.3, 0.2, 0.1), (0.6, 0.4), (0.75, 0.25), (1.0,))
    face = Interface(("x",), ((1,),), identity(1), identity(1), 1, 0.5, chunk_weights=weights)
    policy = OneStepPolicy(agent(), face)
    assert (policy.n_action_steps, policy.chunk_weights) == (2, (0.6, 0.4))
    policy.set_plan(1, None)
    assert policy.chunk_weights == weights[0]
    policy.set_plan(None, "off")
    assert policy.chunk_weights is None
    policy.set_plan(2, 0.0)
    assert policy.chunk_weights == (1.0, 1.0)
    policy.set_plan(4, "fit")
    assert policy.chunk_weights == (1.0,)
    with pytest.raises(InputError, match="no fitted chunk weights"):
        OneStepPolicy(agent(), dataclasses.replace(face, chunk_weights=()))
