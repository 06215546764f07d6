"""The interquartile mean and its stratified bootstrap, against SciPy and numbers worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from dtql_robot.experiments.aggregate import interquartile_mean, mean, over_tasks


def test_by_hand():
    assert interquartile_mean([100.0, 1.0, 2.0, -50.0]) == 1.5
    assert interquartile_mean([9.0, 1.0, 2.0]) == 4.0
    assert over_tasks([[0.0, 1.0], [2.0, 300.0]])[0] == 1.5
    assert over_tasks([[0.0, 1.0], [2.0, 300.0]], mean)[0] == 75.75


@pytest.mark.parametrize("size", range(1, 14))
def test_it_is_scipys_trimmed_mean(size):
    values = np.random.default_rng(size).normal(size=(3, size))
    expected = stats.trim_mean(values, 0.25, axis=1)
    np.testing.assert_allclose(interquartile_mean(values), expected, rtol=1e-12)


@pytest.mark.slow
def test_the_interval_is_that_of_each_tasks_own_seeds():
    rng = np.random.default_rng(1)
    tasks = [rng.normal(50 * t, 1.0, 5) for t in range(4)]
    value, interval = over_tasks(tasks)
    draws = [stats.trim_mean(np.concatenate([rng.choice(t, len(t)) for t in tasks]), 0.25) for _ in range(4000)]
    np.testing.assert_allclose(interval, np.quantile(draws, (0.025, 0.975)), atol=0.1)
    assert interval[0] < value < interval[1]
    assert interval[1] - interval[0] < 3  # tasks differ by 50: were they resampled too, it would be far wider


def test_scipys_bootstrap_of_one_task_agrees():
    scores = np.random.default_rng(2).normal(70, 8, 12)
    found = stats.bootstrap(
        (scores,),
        lambda x, axis: stats.trim_mean(x, 0.25, axis=axis),
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(3),
    ).confidence_interval
    np.testing.assert_allclose(over_tasks([scores])[1], found, atol=0.5)


def test_unequal_and_single_seeds():
    assert over_tasks([[1.0], [2.0], [3.0]]) == (2.0, None)
    value, interval = over_tasks([[1.0], [2.0, 4.0]])
    assert value == pytest.approx(7 / 3)
    assert interval == (pytest.approx(5 / 3), pytest.approx(3.0))
    assert over_tasks([[5.0, 5.0], [5.0]]) == (5.0, (5.0, 5.0))
    for none in ([], [[]], [[1.0], []]):
        with pytest.raises(ValueError, match="one score or more"):
            over_tasks(none)


def test_the_draws_are_always_the_same():
    tasks = [[1.0, 2.0, 4.0], [3.0, 9.0, 5.0]]
    assert over_tasks(tasks) == over_tasks(tasks)
