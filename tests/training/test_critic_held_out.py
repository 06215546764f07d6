"""benchmarks/critic_held_out.py: what its figures are."""

import numpy as np
import pytest
import torch

from benchmarks import critic_held_out as held_out
from dtql_robot.presets import override
from dtql_robot.training.prepare import prepare
from tests.algorithm.test_agent import small_config
from tests.helpers.sample_demos import make_demos, make_episode


@pytest.mark.slow
def test_the_advantage_is_the_target_critics_less_the_value():
    rng = np.random.default_rng(1)
    failing = make_episode(rng, "bad", 7, success=np.zeros(7, bool))
    demos = make_demos(3)
    demos = type(demos)((*demos.episodes, failing), "made", "robomimic", demos.env_spec)
    cfg = override(small_config(), {"data.behaviour": "all"})
    prepared = prepare(demos, cfg, torch.device("cpu"))
    agent = held_out.checkpoint.make_agent(prepared.cfg, prepared.interface, torch.device("cpu"))
    with torch.no_grad():
        agent.target_q.net[-1].bias.add_(3.0)  # unlike q
    judged = held_out.judge(agent, prepared.interface, demos)
    assert judged.good.tolist() == [True, True, True, False]
    assert judged.episode.tolist() == [0] * 5 + [1] * 6 + [2] * 7 + [3] * 7
    assert judged.phase.tolist() == [*range(5), 0, 0, 1, 2, 3, 4, 0, 0, 1, 2, 2, 3, 4, 0, 0, 1, 2, 2, 3, 4]
    b = prepared.buffer.batch(torch.arange(25))
    with torch.no_grad():
        expected = torch.minimum(*agent.target_q(b.obs, b.action)) - agent.v(b.obs)
    np.testing.assert_allclose(judged.advantage, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_auc_of_a_phase_is_of_its_steps_alone():
    """Good steps score 1 and bad ones 0 in the last phase, the reverse in the second; elsewhere all score alike."""
    episode, phase = np.repeat(np.arange(10), 5), np.tile(np.arange(5), 10)
    good = np.arange(10) % 2 == 0
    scores = np.select([phase == 4, phase == 1], [good[episode], ~good[episode]], 0.5).astype(float)
    judged = held_out.Judged(scores, scores, episode, phase, good)
    rng = np.random.default_rng(0)
    assert [held_out.interval(judged, scores, p, 20, rng) for p in (4, 1, 0)] == [(1.0,) * 3, (0.0,) * 3, (0.5,) * 3]
    scores = rng.normal(size=50) + 0.5 * good[episode]
    middle, low, high = held_out.interval(judged, scores, 4, 200, rng)
    assert low < middle < high
    pairs = [(a > b) for a in scores[4::10] for b in scores[9::10]]
    assert middle == pytest.approx(np.mean(pairs))
