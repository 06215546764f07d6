"""Scalings invert exactly enough, and constant dimensions stay harmless."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dtql_robot.policy.normalize import concatenate, fit_identity, fit_range, fit_standard

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
    rounding = np.spacing(np.float32(0.7)) * np.arange(5).repeat(10)
    rows = np.stack([np.full(50, 0.7), np.linspace(-1, 1, 50), np.full(50, 0.7) + rounding], 1).astype(np.float32)
    for fit in (fit_range, fit_standard):
        scaled = fit(rows).apply(rows)
        assert np.abs(scaled[:, [0, 2]]).max() < 1e-6
        assert np.abs(scaled[:, 1]).max() >= 1


@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1e-6, 9e-4, 1, 1e9, 1e30])
@pytest.mark.parametrize("offset", [0, 1, 1000])
def test_no_unit_is_too_small_or_too_large(unit, offset):
    """A dimension is scaled by its own spread, whatever its neighbours' is."""
    rng = np.random.default_rng(0)
    rows = np.stack([unit * (offset + rng.uniform(-1, 1, 200)), rng.uniform(-1, 1, 200)], 1).astype(np.float32)
    np.testing.assert_allclose(fit_standard(rows).apply(rows).std(axis=0), 1, rtol=1e-3)
    scaled = fit_range(rows).apply(rows)
    np.testing.assert_allclose([scaled.min(axis=0), scaled.max(axis=0)], [[-1, -1], [1, 1]], atol=1e-3)


@pytest.mark.parametrize("fit", [fit_range, fit_identity])
@pytest.mark.parametrize("value", [0, -1, 0.3, 255, 1e-7, 1e9])
def test_a_constant_action_comes_back_as_it_was_whatever_the_network_says(fit, value):
    rows = np.stack([np.full(9, value), np.linspace(-1, 1, 9)], 1).astype(np.float32)
    norm = fit(rows)
    acted = norm.invert(np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32))
    assert (acted[..., 0] == np.float32(value)).all()
    assert np.ptp(acted[..., 1]) > 0.1
    assert (norm.apply(rows)[:, 0] == 0).all()
    np.testing.assert_allclose(norm.invert(norm.apply(rows)), rows, rtol=1e-6)


def test_what_leaves_a_constant_observation_later_stays_of_sensible_size():
    norm = fit_standard(np.full((9, 1), 1.7e18, np.float32))
    assert norm.apply(np.zeros((1, 1), np.float32)) == -1


def test_concatenate_follows_the_keys_order():
    obs = {"b": np.ones((4, 2)), "a": np.zeros((4,))}
    assert concatenate(obs, ["a", "b"]).tolist() == [[0, 1, 1]] * 4
