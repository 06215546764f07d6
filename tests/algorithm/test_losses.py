"""Each loss against the formula or the statistic it stands for."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from dtql_robot.algorithm import losses


def test_chunk_mean_counts_only_recorded_steps():
    error = torch.arange(12.0).reshape(1, 3, 4)
    valid = torch.tensor([[1.0, 1.0, 0.0]])
    assert losses.chunk_mean(error, valid).item() == pytest.approx(error[0, :2].sum().item() / 12)


@pytest.mark.slow
def test_expectile_loss_finds_the_expectile():
    sample = np.random.default_rng(0).exponential(size=20_000)
    for expectile in (0.5, 0.7, 0.9):
        grid = torch.linspace(0.2, 3, 561, dtype=torch.float64)
        u = torch.from_numpy(sample)[None] - grid[:, None]
        best = grid[losses.expectile_loss(u, expectile).mean(dim=1).argmin()].item()

        # The expectile m balances expectile * E(x - m)+ = (1 - expectile) * E(m - x)+; for Exp(1): E(x - m)+ = e^-m.
        def balance(m, e=expectile):
            return e * np.exp(-m) - (1 - e) * (m - 1 + np.exp(-m))

        assert best == pytest.approx(optimize.brentq(balance, 0, 10), abs=0.03)


def test_value_loss_takes_the_smaller_target():
    v, target_q = torch.tensor([1.0, 1.0]), torch.tensor([[3.0, 0.0], [2.0, 5.0]])
    loss = losses.value_loss(v, target_q, 0.7)
    torch.testing.assert_close(loss, torch.tensor([0.7 * 1.0, 0.3 * 1.0]))


def test_q_loss_is_the_td_error_of_both():
    q = torch.tensor([[1.0], [2.0]])
    loss = losses.q_loss(q, torch.tensor([0.5]), torch.tensor([0.9]), torch.tensor([2.0]))
    assert loss.item() == pytest.approx((2.3 - 1) ** 2 + (2.3 - 2) ** 2)


def test_nll_is_the_tanh_gaussians_up_to_its_jacobian():
    mean, log_std = torch.tensor([[[0.3]]]), torch.tensor([[[-0.5]]])
    action = torch.tensor([[[0.4]]])
    nll = losses.tanh_gaussian_nll(mean, log_std, action, torch.ones(1, 1)).item()
    raw = np.arctanh(0.4 / 1.001)
    assert nll == pytest.approx(-stats.norm(0.3, np.exp(-0.5)).logpdf(raw), rel=1e-5)


def test_nll_is_finite_at_the_bounds():
    action = torch.tensor([[[1.0, -1.0]]])
    mean = torch.zeros(1, 1, 2, requires_grad=True)
    nll = losses.tanh_gaussian_nll(mean, torch.full((1, 1, 2), -2.0), action, torch.ones(1, 1)).sum()
    nll.backward()
    assert torch.isfinite(nll)
    assert torch.isfinite(mean.grad).all()


def test_masked_mean_ignores_unknown_targets():
    values, mask = torch.tensor([1.0, 100.0, 3.0]), torch.tensor([1.0, 0.0, 1.0])
    assert losses.masked_mean(values, mask).item() == pytest.approx(2.0)
    assert losses.masked_mean(values, torch.zeros(3)).item() == 0.0
