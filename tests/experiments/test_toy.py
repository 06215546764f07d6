"""The bandits' data and rewards, and what the figure shows, in numbers."""

import numpy as np
import pytest

from dtql_robot.experiments import bandits as toy


def test_rewards_are_the_papers():
    bandit = toy.make_bandit("25 Gaussians, hard", 0)
    distance = np.linalg.norm(bandit.actions, axis=1)
    corner = (bandit.actions[:, 0] < -7.5) & (bandit.actions[:, 1] > 7.5)
    np.testing.assert_allclose(bandit.rewards, distance * np.where(corner, 2, 1), rtol=1e-5)
    assert corner.mean() == pytest.approx(1 / 25, abs=0.01)
    near = toy.make_bandit("swiss roll, near", 0)
    assert np.linalg.norm(near.actions[near.rewards.argmax()]) == pytest.approx(4.6, abs=0.3)


def test_support_is_judged_by_the_data():
    bandit = toy.make_bandit("25 Gaussians, far", 0)
    fresh = toy.make_bandit("25 Gaussians, far", 1)
    assert toy.judge(bandit, "kl", fresh.actions[:2000]).in_support > 0.99
    between = np.full((100, 2), 2.5, np.float32)
    outcome = toy.judge(bandit, "kl", between)
    assert outcome.in_support == 0
    assert outcome.reward == pytest.approx(bandit.rewards.min())


@pytest.mark.slow
def test_trust_region_finds_the_best_mode_and_stays_in_the_data():
    bandit = toy.make_bandit("25 Gaussians, hard", 0)
    outcome = toy.run_bandit(bandit, "trust_region", steps=1500, seed=0)
    assert outcome.in_support >= 0.95
    assert outcome.reward >= 0.9 * np.quantile(bandit.rewards, 0.98)


@pytest.mark.slow
def test_trust_region_beats_kl_on_the_roll():
    bandit = toy.make_bandit("swiss roll, far", 0)
    trust, kl = (toy.run_bandit(bandit, kind, steps=1200, seed=0) for kind in ("trust_region", "kl"))
    assert trust.in_support >= 0.95
    assert trust.in_support > kl.in_support
    assert trust.reward > kl.reward


def test_the_figure_is_drawn(tmp_path):
    actions = toy.make_bandit("swiss roll, far", 0).actions[:100]
    outcomes = [toy.Outcome("swiss roll, far", kind, actions, 1.0, 2.0) for kind in ("trust_region", "kl")]
    toy.draw(outcomes, 0, str(tmp_path / "toy.png"))
    assert (tmp_path / "toy.png").stat().st_size > 10_000
