"""Executing chunks of actions."""

import numpy as np
import pytest

from dtql_robot.client.action_plan import ActionPlan, exponential_weights


def chunk(start: float, length: int = 4) -> np.ndarray:
    return (start + np.arange(length, dtype=np.float32))[:, None]


def test_without_weights_the_newest_chunk_is_executed():
    plan = ActionPlan(2)
    np.testing.assert_array_equal(plan.next(chunk(0)), [[0], [1]])
    np.testing.assert_array_equal(plan.next(chunk(10)), [[10], [11]])


@pytest.mark.parametrize("coeff", [0.0, 0.3, -0.3])
def test_each_step_is_the_weighted_mean_of_all_chunks_that_foresaw_it(coeff):
    plan = ActionPlan(1, exponential_weights(coeff, 4, 1))
    chunks = [chunk(s) for s in (0.0, 10.0, 50.0, 20.0, 70.0, 30.0)]
    for now, newest in enumerate(chunks):
        foreseen = [(c[now - made, 0]) for made, c in enumerate(chunks[: now + 1]) if now - made < 4]
        weights = np.exp(-coeff * np.arange(len(foreseen)))
        found = plan.next(newest)
        assert found.shape == (1, 1)
        assert found.dtype == np.float32
        assert found[0, 0] == pytest.approx(np.average(foreseen, weights=weights), rel=1e-6)


def test_a_chunk_counts_only_for_the_steps_that_it_reaches():
    plan = ActionPlan(3, (1.0, 1.0))
    np.testing.assert_array_equal(plan.next(chunk(0)), [[0], [1], [2]])
    np.testing.assert_array_equal(plan.next(chunk(10)), [[(3 + 10) / 2], [11], [12]])
    whole = ActionPlan(4, exponential_weights(0.0, 4, 4))
    whole.next(chunk(0))
    np.testing.assert_array_equal(whole.next(chunk(10)), chunk(10))


def test_weights_may_leave_chunks_out():
    plan = ActionPlan(1, (0.0, 1.0))  # what the chunk before foresaw
    assert [float(plan.next(chunk(s))[0, 0]) for s in (0.0, 10.0, 50.0)] == [0.0, 1.0, 11.0]  # the first has none
    plan = ActionPlan(1, (0.5, 0.5, 0.0, 0.0))
    assert [float(plan.next(chunk(s))[0, 0]) for s in (0.0, 10.0, 50.0, 20.0)] == [0.0, 5.5, 30.5, 35.5]


@pytest.mark.parametrize("steps", [0, -1, 2.5, "2", None])
def test_a_plan_that_executes_nothing_is_refused(steps):
    with pytest.raises(ValueError, match=r"n_action_steps is .*; expected a whole number of at least 1"):
        ActionPlan(steps)


@pytest.mark.parametrize("weights", [None, (0.5, 0.5)])
def test_a_chunk_that_is_shorter_than_what_is_executed_is_refused(weights):
    with pytest.raises(ValueError, match="the chunk has 2 steps; expected at least n_action_steps=3"):
        ActionPlan(3, weights).next(chunk(0, length=2))
