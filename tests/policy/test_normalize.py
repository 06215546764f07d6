"""Scalings invert exactly enough, and constant dimensions stay harmless."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dtql_robot.policy.normalize import concatenate, fit_range, fit_standard

ROWS = arrays(np.float32, (12, 3), elements=st.floats(-100, 100, width=32))


@given(ROWS)
def test_range_maps_into_the_unit_box_and_back(rows):
    norm = fit_range(rows)
    scaled = norm.apply(rows)
    assert np.abs(scaled).max() <= 1 + 1e-4
    np.testing.assert_allclose(norm.invert(scaled), rows, atol=1e-3)


@given(ROWS)
def test_standard_scaling_inverts(rows):
    norm = fit_standard(rows)
    np.testing.assert_allclose(norm.invert(norm.apply(rows)), rows, atol=1e-3)


def test_constant_dimensions_become_zero_and_are_not_amplified():
    rows = np.stack([np.full(50, 0.7), np.linspace(-1, 1, 50), np.full(50, 0.7) + 1e-6 * np.arange(50)], 1)
    for fit in (fit_range, fit_standard):
        scaled = fit(rows).apply(rows)
        assert np.abs(scaled[:, [0, 2]]).max() < 1e-3
        assert np.abs(scaled[:, 1]).max() >= 1


def test_concatenate_follows_the_keys_order():
    obs = {"b": np.ones((4, 2)), "a": np.zeros((4,))}
    assert concatenate(obs, ["a", "b"]).tolist() == [[0, 1, 1]] * 4
