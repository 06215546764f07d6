"""Chunks that arrive late: each step executes the action that was foreseen for it, at the rate that was asked."""

import time

import numpy as np
import pytest

from dtql_robot.client import ActionPlan, CommittedPlan, RealTimeLoop

WEIGHTS = (0.5, 0.3, 0.2)


def foreseen(step, horizon=12):
    """A chunk that says of each action which step it is for."""
    return np.stack([np.arange(step, step + horizon), np.full(horizon, step)], axis=1).astype(np.float32)


@pytest.mark.parametrize("weights", [None, WEIGHTS, (0.0, 1.0)])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_without_delay_it_is_the_action_plan_bit_for_bit(weights, n):
    rng = np.random.default_rng(0)
    plan, committed = ActionPlan(n, weights), CommittedPlan(weights)
    for decision in range(9):
        chunk = rng.normal(size=(7, 3)).astype(np.float32)
        assert committed.add(chunk, n * decision) == 0
        np.testing.assert_array_equal(plan.next(chunk), [committed.next() for _ in range(n)])


def test_late_chunks_decide_what_is_not_committed_and_nothing_else():
    plan = CommittedPlan(WEIGHTS)
    plan.add(foreseen(0), 0)
    assert [plan.next()[0] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert plan.add(foreseen(3), 3) == 2  # two of its actions are too late
    w0, w1 = WEIGHTS[:2]
    np.testing.assert_allclose(plan.next(), [5, (3 * w0 + 0 * w1) / (w0 + w1)], rtol=1e-6)
    assert plan.left() == 3 + 12 - 6
    for wrong in (3, 2, 7):
        with pytest.raises(ValueError, match="does not follow"):
            plan.add(foreseen(wrong), wrong)


def test_steps_without_a_chunk_pass_without_an_action():
    plan = CommittedPlan()
    assert (plan.next(), plan.committed, plan.left()) == (None, 1, 0)
    plan.add(foreseen(0, horizon=2), 0)
    assert (plan.next()[0], plan.next(), plan.left()) == (1, None, 0)


class Robot:
    """Counts its own steps, and a policy that takes a while to foresee the steps from the one it is shown."""

    def __init__(self, takes, horizon=12):
        self.step, self.takes, self.horizon, self.executed, self.seen = -1, takes, horizon, [], []

    def observe(self):
        self.step += 1
        return {"step": self.step}

    def policy(self, obs):
        time.sleep(self.takes(obs["step"]))
        self.seen.append(obs["step"])
        return foreseen(obs["step"], self.horizon)

    def execute(self, action):
        self.executed.append((self.step, *action))

    def loop(self, **options):
        return RealTimeLoop(self.policy, self.observe, self.execute, **options)


@pytest.mark.parametrize(("takes", "delay"), [(0.0, 0), (0.025, 2), (0.025, 4)])
def test_every_step_executes_the_action_that_was_foreseen_for_it(takes, delay):
    robot = Robot(lambda _: takes)
    timing = robot.loop(hz=50, n_action_steps=4, delay=delay).run(24)
    steps, meant_for, observed_at = np.array(robot.executed).T
    np.testing.assert_array_equal(steps, np.arange(24))
    np.testing.assert_array_equal(meant_for, steps)  # and not `delay` steps late
    assert timing.starved == 0
    second = max(1, 4 - delay)
    assert robot.seen[:3] == [0, second, second + 4]
    assert len(timing.late_starts) == 24
    assert timing.period == pytest.approx(0.02)
    assert all(t >= takes for t in timing.decisions)
    assert np.all(observed_at <= steps)


def test_a_decision_that_takes_too_long_is_told_and_older_chunks_go_on():
    robot = Robot(lambda step: 0.12 if step == 2 else 0.001)
    timing = robot.loop(hz=50, n_action_steps=4, delay=2).run(20)
    steps, meant_for, observed_at = np.array(robot.executed).T
    np.testing.assert_array_equal(meant_for, steps)
    assert timing.late_chunks == 1
    assert observed_at[6] == 0  # while the decision on step 2 is on its way
    assert "1 late" in str(timing)


def test_without_any_action_the_last_one_is_repeated_and_told():
    robot = Robot(lambda step: 0.25 if step == 2 else 0.001, horizon=6)
    timing = robot.loop(hz=50, n_action_steps=4, delay=2).run(20)
    assert timing.starved > 0
    assert f"{timing.starved} steps without an action" in str(timing)
    meant_for = [m for _, m, _ in robot.executed]
    assert meant_for[6] == meant_for[5] == 5


def test_slow_decisions_without_delay_miss_deadlines_and_nothing_is_hurried():
    robot = Robot(lambda _: 0.05)
    begun = time.monotonic()
    timing = robot.loop(hz=50, n_action_steps=4, delay=0).run(9)
    assert timing.missed_deadlines >= 2
    assert time.monotonic() - begun > 9 * 0.02 + 2 * 0.02
    np.testing.assert_array_equal([m for _, m, _ in robot.executed], np.arange(9))


def test_the_delay_is_measured_where_it_is_not_given():
    fast, slow = Robot(lambda _: 0.0), Robot(lambda _: 0.03)
    assert fast.loop(hz=2, n_action_steps=2).run(1).delay == 0
    assert slow.loop(hz=50, n_action_steps=2).run(4).delay in (3, 4, 5)


def test_what_cannot_be_is_refused():
    for hz, n, delay in ((0, 1, None), (10, 0, None), (np.inf, 1, None), (10, 1, -1)):
        options = {"hz": hz, "n_action_steps": n, "delay": delay}
        with pytest.raises(ValueError, match="must be positive"):
            Robot(lambda _: 0).loop(**options)
    with pytest.raises(ValueError, match="chunks of 12 actions are too short to execute 8 of them 5 steps after"):
        Robot(lambda _: 0).loop(hz=50, n_action_steps=8, delay=5).run(3)


def test_what_the_policy_raises_ends_the_loop():
    def fail(_):
        raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError, match="the camera is gone"):
        RealTimeLoop(fail, dict, print, hz=50, n_action_steps=2, delay=1).run(3)


def test_it_ends_where_it_is_told_to():
    robot = Robot(lambda _: 0.0)
    timing = robot.loop(hz=100, n_action_steps=2, delay=0).run(100, until=lambda: robot.step >= 3)
    assert len(robot.executed) == 4
    assert timing.starved == 0
