import pytest
from scipy.stats import binomtest

from dtql_robot.eval.intervals import ends_in_success, episode_success, first_success, wilson_interval


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (25, 50), (47, 50), (3, 10), (199, 200)])
def test_wilson_interval_agrees_with_scipy(k, n):
    expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_agrees_with_the_textbook():
    """Newcombe (1998), Table I: 81/263 and 15/148."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


@pytest.mark.parametrize(("k", "n"), [(1, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(k, n)


def test_success_rules():
    assert episode_success([False, True, False], "any")
    assert not episode_success([False, True, False], "last")
    assert episode_success([False, True], "last")
    assert not episode_success([False, False], "any")


def test_time_to_success_counts_steps():
    assert first_success([True]) == 1
    assert first_success([False, False, True, True]) == 3
    assert first_success([False]) is None


def test_the_end_of_an_episode_is_told_where_another_step_may_count():
    assert ends_in_success([False, True, True], "any") is True
    assert ends_in_success([True, False], "any") is False
    assert ends_in_success([], "any") is False
    assert ends_in_success([True, True], "last") is None
    assert ends_in_success([None, None], "any") is None
