"""Executing chunks of actions."""

import numpy as np
import pytest

from dtql_robot.plan import ActionPlan


def chunk(start: float, length: int = 4) -> np.ndarray:
    return (start + np.arange(length, dtype=np.float32))[:, None]


def test_without_a_coefficient_the_newest_chunk_is_executed():
    plan = ActionPlan(2)
    np.testing.assert_array_equal(plan.next(chunk(0)), [[0], [1]])
    np.testing.assert_array_equal(plan.next(chunk(10)), [[10], [11]])


@pytest.mark.parametrize("coeff", [0.0, 0.3, -0.3])
def test_each_step_is_the_weighted_mean_of_all_chunks_that_foresaw_it(coeff):
    plan, chunks = ActionPlan(1, coeff), [chunk(s) for s in (0.0, 10.0, 50.0, 20.0, 70.0, 30.0)]
    for now, newest in enumerate(chunks):
        foreseen = [(c[now - made, 0]) for made, c in enumerate(chunks[: now + 1]) if now - made < 4]
        weights = np.exp(-coeff * np.arange(len(foreseen)))
        found = plan.next(newest)
        assert found.shape == (1, 1)
        assert found.dtype == np.float32
        assert found[0, 0] == pytest.approx(np.average(foreseen, weights=weights), rel=1e-6)


def test_a_chunk_counts_only_for_the_steps_that_it_reaches():
    plan = ActionPlan(3, 0.0)
    np.testing.assert_array_equal(plan.next(chunk(0)), [[0], [1], [2]])
    np.testing.assert_array_equal(plan.next(chunk(10)), [[(3 + 10) / 2], [11], [12]])
    whole = ActionPlan(4, 0.0)
    whole.next(chunk(0))
    np.testing.assert_array_equal(whole.next(chunk(10)), chunk(10))
