"""Chunks, masks and n-step returns, against a plain loop over the episodes."""

import dataclasses

import numpy as np
import pytest
import torch

from dtql_robot.config import DataConfig
from dtql_robot.errors import InputError
from dtql_robot.training.buffer import choose_obs_keys, fit_normalizers, make_buffer, resolve_reward
from dtql_robot.types import Demonstrations
from tests.conftest import make_episode

DISCOUNT, HORIZON = 0.9, 4


def build(demos, reward="success"):
    keys = choose_obs_keys(demos, ())
    obs_norm, action_norm = fit_normalizers(demos, keys, "range")
    cfg = DataConfig(horizon=HORIZON, n_action_steps=HORIZON, reward=reward)
    return make_buffer(demos, cfg, DISCOUNT, keys, obs_norm, action_norm, torch.device("cpu")), obs_norm, action_norm


def test_every_chunk_equals_the_plain_loop(demos):
    buffer, obs_norm, action_norm = build(demos)
    batch = buffer.batch(torch.arange(len(buffer)))
    row = 0
    for e in demos.episodes:
        states = obs_norm.apply(np.concatenate([e.obs["state"], e.final_obs["state"][None]]))
        actions, rewards = action_norm.apply(e.actions), e.success - 1.0
        for t in range(len(e)):
            n = min(HORIZON, len(e) - t)
            np.testing.assert_array_equal(batch.obs[row], states[t])
            np.testing.assert_array_equal(batch.next_obs[row], states[t + n])
            np.testing.assert_array_equal(batch.action[row, :n], actions[t : t + n])
            np.testing.assert_array_equal(batch.action[row, n:], np.repeat(actions[-1:], HORIZON - n, axis=0))
            np.testing.assert_array_equal(batch.valid[row], [1.0] * n + [0.0] * (HORIZON - n))
            assert batch.reward[row].item() == pytest.approx(sum(DISCOUNT**k * rewards[t + k] for k in range(n)))
            ends_in_success = t + n == len(e) and bool(e.success[-1])
            assert batch.discount[row].item() == pytest.approx(0.0 if ends_in_success else DISCOUNT**n)
            assert batch.td_valid[row] == 1
            row += 1
    assert row == len(buffer)


def test_unknown_final_state_is_excluded_from_td_unless_terminal():
    cut = make_episode("cut", 6, 0, final=False, success=False)
    won = make_episode("won", 6, 1, final=False, success=True)
    ended = dataclasses.replace(cut, name="ended", terminated=True, truncated=False)
    buffer, _, _ = build(Demonstrations((cut, won, ended), "synthetic", "robomimic"))
    batch = buffer.batch(torch.arange(len(buffer)))
    reaches_end = np.arange(6) + HORIZON >= 6
    np.testing.assert_array_equal(batch.td_valid[:6], 1.0 - reaches_end)
    assert (batch.td_valid[6:] == 1).all()
    np.testing.assert_array_equal(batch.discount[6:12] == 0, reaches_end)
    np.testing.assert_array_equal(batch.discount[12:] == 0, reaches_end)


def test_reward_is_resolved_from_the_data(demos):
    assert resolve_reward(demos, "auto") == "success"
    unlabelled = Demonstrations(
        tuple(dataclasses.replace(e, success=None) for e in demos.episodes), "synthetic", "d4rl"
    )
    assert resolve_reward(unlabelled, "auto") == "dataset"
    with pytest.raises(InputError, match="no success signal"):
        resolve_reward(unlabelled, "success")


def test_unknown_obs_key_lists_those_available(demos):
    with pytest.raises(InputError, match=r"\['eye'\].*state"):
        choose_obs_keys(demos, ("eye",))


def test_samples_depend_on_the_generator_alone(demos):
    buffer, _, _ = build(demos)
    first = buffer.sample(32, torch.Generator().manual_seed(3))
    again = buffer.sample(32, torch.Generator().manual_seed(3))
    other = buffer.sample(32, torch.Generator().manual_seed(4))
    assert torch.equal(first.obs, again.obs)
    assert not torch.equal(first.obs, other.obs)
