"""Chunks, masks and n-step returns, against a plain loop over the episodes."""

import dataclasses

import numpy as np
import pytest
import torch

from dtql_robot.config import DataConfig
from dtql_robot.errors import InputError
from dtql_robot.training.buffer import _targets, choose_obs_keys, fit_normalizers, make_buffer, resolve_reward
from dtql_robot.types import Demonstrations
from tests.conftest import make_episode

DISCOUNT, HORIZON = 0.9, 4


def build(demos, reward="success"):
    keys = choose_obs_keys(demos, ())
    obs_norm, action_norm = fit_normalizers(demos, keys, "standard", "range")
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


MASKS = np.array([1, 1, 0, 0, 1, 1, 1, 0, 1, 1], bool)


def masked(**changes):
    """Ten steps with rewards -2 to -11; the task is done where steps 2, 3 and 7 begin."""
    e = dataclasses.replace(make_episode("play", 10, 0, success=False), terminated=False, truncated=True)
    e = dataclasses.replace(e, rewards=-np.arange(2.0, 12.0).astype(np.float32), masks=MASKS, **changes)
    return Demonstrations((e,), "synthetic", "ogbench")


def test_a_chunks_return_stops_at_the_first_masked_step():
    """Discount .9, chunks of 4, worked out by hand; the actions of a chunk go on."""
    buffer, _, action_norm = build(masked(), reward="dataset")
    batch = buffer.batch(torch.arange(10))
    g = DISCOUNT
    expected = [
        -2 - 3 * g - 4 * g**2,  # 0: to step 2, which counts
        -3 - 4 * g,
        -4,  # 2: begins where the task is done
        -5,
        -6 - 7 * g - 8 * g**2 - 9 * g**3,  # 4: step 7 is its fourth
        -7 - 8 * g - 9 * g**2,
        -8 - 9 * g,
        -9,
        -10 - 11 * g,  # 8: cut off by the end of the recording
        -11,
    ]
    np.testing.assert_allclose(batch.reward, expected, rtol=1e-6)
    np.testing.assert_allclose(batch.discount, [0] * 8 + [g**2, g], rtol=1e-6)
    assert (batch.td_valid == 1).all()
    np.testing.assert_array_equal(batch.valid, [[1.0] * min(4, 10 - t) + [0.0] * max(0, t - 6) for t in range(10)])
    np.testing.assert_array_equal(batch.action[0], action_norm.apply(masked().episodes[0].actions)[:4])


def test_with_a_reward_for_success_masked_steps_cost_nothing():
    """Success holds after steps 1, 2 and 6: where the steps 2, 3 and 7 begin."""
    success = np.append(~MASKS[1:], False)
    demos = masked(success=success)
    buffer, _, _ = build(demos)
    batch = buffer.batch(torch.arange(10))
    g = DISCOUNT
    expected = [-1, 0, 0, 0, -1 - g, -1, 0, 0, -1 - g, -1]
    np.testing.assert_allclose(batch.reward, expected, rtol=1e-6)
    np.testing.assert_allclose(batch.discount, [0] * 8 + [g**2, g], rtol=1e-6)


def test_a_masked_step_at_the_end_needs_no_final_observation():
    for final, known in ((MASKS, [0, 0]), (np.append(MASKS[:9], False), [1, 1])):
        (e,) = masked(final_obs=None).episodes
        demos = Demonstrations((dataclasses.replace(e, masks=final),), "synthetic", "ogbench")
        buffer, _, _ = build(demos, reward="dataset")
        np.testing.assert_array_equal(buffer.td_valid[8:], known)
        assert (buffer.td_valid[:8] == 1).all()


@pytest.mark.parametrize("reward", ["success", "dataset"])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_masks_that_are_all_one_change_nothing(demos, reward, shift):
    ones = tuple(dataclasses.replace(e, masks=np.ones(len(e), bool)) for e in demos.episodes)
    keys = choose_obs_keys(demos, ())
    cfg = DataConfig(horizon=HORIZON, n_action_steps=HORIZON, reward=reward, reward_shift=shift)
    norms = fit_normalizers(demos, keys, "standard", "range")
    plain, with_masks = (
        make_buffer(d, cfg, DISCOUNT, keys, *norms, torch.device("cpu"))
        for d in (demos, dataclasses.replace(demos, episodes=ones))
    )
    for name in ("states", "actions", "state", "last", "next", "reward", "discount", "td_valid"):
        assert torch.equal(getattr(plain, name), getattr(with_masks, name))


@pytest.mark.parametrize("reward", ["success", "dataset"])
def test_masks_give_unsolved_states_what_ending_the_episode_there_gives(reward):
    """Cutting a recording at every solved state, and leaving those out, is the same for all other states: every step
    costs 1 until the task is done."""
    (e,) = masked(success=np.append(~MASKS[1:], False)).episodes
    e = dataclasses.replace(e, rewards=np.where(MASKS, -1, 0).astype(np.float32))
    cfg = DataConfig(horizon=HORIZON, n_action_steps=HORIZON, reward=reward)
    whole = _targets(e, cfg, DISCOUNT)
    for start, end in ((0, 2), (4, 7), (8, 10)):
        part = dataclasses.replace(
            e,
            obs={k: v[start:end] for k, v in e.obs.items()},
            actions=e.actions[start:end],
            masks=None,
            rewards=e.rewards[start:end],
            success=e.success[start:end],
            terminated=end < 10,
            truncated=end == 10,
        )
        cut = _targets(part, cfg, DISCOUNT)
        for name in ("reward", "discount"):
            np.testing.assert_allclose(cut[name], whole[name][start:end], rtol=1e-6)


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
