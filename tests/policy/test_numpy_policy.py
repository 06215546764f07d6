"""The policy's mean without torch."""

import numpy as np
import pytest
import torch

from dtql_robot.algorithm.policy_networks import GaussianPolicy, ImplicitPolicy
from dtql_robot.policy.numpy_policy import numpy_mean


def policy(activation="relu", hidden=(256, 48, 7), members=1):
    torch.manual_seed(0)
    return GaussianPolicy(39, (8, 5), hidden, activation, (-5.0, 2.0), members)


@pytest.mark.parametrize("activation", ["relu", "silu", "mish"])
@pytest.mark.parametrize("hidden", [(256, 48, 7), (64,)])
@pytest.mark.parametrize("members", [1, 3])
def test_the_mean_is_torchs_mean(activation, hidden, members):
    network = policy(activation, hidden, members)
    mean = numpy_mean(network)
    states = 10 * np.random.default_rng(0).standard_normal((20, 39)).astype(np.float32)
    with torch.no_grad():
        expected = network.mode(torch.from_numpy(states)).numpy()
    found = mean(states)
    assert found.dtype == np.float32
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, atol=2e-6)
    for i in range(20):
        np.testing.assert_array_equal(mean(states[i : i + 1])[0], found[i])
    with np.errstate(all="raise", under="ignore"):  # nor does it overflow far from the data
        assert np.isfinite(mean(1e4 * states)).all()


def test_it_follows_the_network_in_training():
    network = policy()
    mean, state = numpy_mean(network), np.ones((1, 39), np.float32)
    before = mean(state)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    with torch.no_grad():
        expected = network.mode(torch.ones(1, 39)).numpy()
    assert np.abs(mean(state) - before).max() > 1e-3
    np.testing.assert_allclose(mean(state), expected, atol=2e-6)


def test_other_networks_are_left_to_torch():
    assert numpy_mean(policy("gelu")) is None
    assert numpy_mean(ImplicitPolicy(39, (8, 5), (32,), "relu")) is None
