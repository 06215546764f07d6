"""Episodes that go on side by side with one policy."""

import numpy as np
import pytest

from dtql_robot.eval.pools import actor
from dtql_robot.eval.pools.actor import Actor, advance
from dtql_robot.eval.pools.chunked_env import ChunkResult


class CountingServer:
    """Counts its steps, which are the observation; the episode lasts `length` of them.  Rewards are the actions."""

    def __init__(self, length):
        self.length = length

    def reset(self, seed):
        self.step = 0
        return {"x": np.zeros(1)}

    def run_chunk(self, actions):
        taken = actions[: self.length - self.step]
        self.step += len(taken)
        rewards = [float(a[0]) for a in taken]
        return ChunkResult(
            {"x": np.full(1, self.step)}, rewards, [False] * len(rewards), self.step == self.length, {}, {}
        )


class StepPolicy:
    """Three actions at a time: the number of the step they are for."""

    action_dim, n_action_steps = 1, 3

    def __init__(self):
        self.asked = []

    def predict(self, obs, rngs):
        self.asked.append(len(rngs))
        return obs["x"][:, None, :] + np.arange(3)[:, None]


@pytest.fixture
def started():
    policy = StepPolicy()
    actors = [Actor(CountingServer(length), policy) for length in (4, 9, 1)]
    for seed, one in enumerate(actors):
        one.reset(seed)
    return policy, actors


def test_each_goes_on_to_its_own_end(started):
    policy, actors = started
    results = advance(policy, actors)
    assert [r.rewards for r in results] == [list(range(4)), list(range(9)), [0.0]]
    assert all(r.done for r in results)
    assert policy.asked == [3, 2, 1]


def test_a_turn_ends_and_the_next_one_takes_up_where_it_was(started, monkeypatch):
    policy, actors = started
    monkeypatch.setattr(actor, "TURN", -1.0)
    first, second, third = (advance(policy, [one for one in actors if not one.last.done]) for _ in range(3))
    assert [r.rewards for r in first] == [[0, 1, 2], [0, 1, 2], [0]]
    assert [r.done for r in first] == [False, False, True]
    assert [r.rewards for r in second] == [[3], [3, 4, 5]]
    assert [(r.rewards, r.done) for r in third] == [([6, 7, 8], True)]
    actors[2].reset(7)
    (again,) = advance(policy, [actors[2]])
    assert (again.rewards, again.done) == ([0], True)
