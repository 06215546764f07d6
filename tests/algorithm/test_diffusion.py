"""EDM's formulas, noise densities and sampler against closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from dtql_robot.algorithm.diffusion import Denoiser, edm_scalings, heun_sample, karras_sigmas, sample_sigma
from dtql_robot.algorithm.losses import denoising_loss


def test_scalings_are_table_1_of_edm():
    sigma, data = torch.tensor([0.01, 0.5, 3.0], dtype=torch.float64), 0.4
    c_skip, c_out, c_in, c_noise = edm_scalings(sigma, data)
    torch.testing.assert_close(c_skip, data**2 / (sigma**2 + data**2))
    torch.testing.assert_close(c_out, sigma * data / torch.sqrt(sigma**2 + data**2))
    torch.testing.assert_close(c_in, 1 / torch.sqrt(sigma**2 + data**2))
    torch.testing.assert_close(c_noise, torch.log(sigma) / 4)


def test_sigma_has_the_truncated_log_logistic_distribution():
    loc, scale, low, high = np.log(0.5), 0.5, 0.05, 5.0
    u = torch.rand(200_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigma = sample_sigma(u, "log-logistic", loc, scale, low, high).numpy()
    assert sigma.min() >= low
    assert sigma.max() <= high
    logistic = stats.logistic(loc, scale)
    mass = logistic.cdf(np.log(high)) - logistic.cdf(np.log(low))
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        expected = np.exp(logistic.ppf(logistic.cdf(np.log(low)) + q * mass))
        assert np.quantile(sigma, q) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("density", "distribution"),
    [
        ("log-normal", stats.truncnorm((np.log(0.01) + 1.2) / 1.2, (np.log(10) + 1.2) / 1.2, -1.2, 1.2)),
        ("log-uniform", stats.uniform(np.log(0.01), np.log(1000))),
    ],
)
def test_other_sigma_densities(density, distribution):
    u = torch.rand(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    log_sigma = sample_sigma(u, density, -1.2, 1.2, 0.01, 10.0).log().numpy()
    for q in (0.05, 0.5, 0.95):
        assert np.quantile(log_sigma, q) == pytest.approx(distribution.ppf(q), abs=0.03)


class GaussianOracle(torch.nn.Module):
    """The raw network F for which D is the posterior mean of N(mean, std**2) data: the optimal denoiser."""

    def __init__(self, mean: float, std: float, sigma_data: float):
        super().__init__()
        self.mean, self.std, self.sigma_data = mean, std, sigma_data

    def forward(self, x, c_noise, obs):
        sigma = torch.exp(4 * c_noise)[:, None, None]
        c_skip, c_out, c_in, _ = edm_scalings(sigma, self.sigma_data)
        noisy = x / c_in
        denoised = (self.std**2 * noisy + sigma**2 * self.mean) / (self.std**2 + sigma**2)
        return (denoised - c_skip * noisy) / c_out


MEAN, STD, SIGMA_DATA = 0.1, 0.05, 0.3


@pytest.fixture
def oracle() -> Denoiser:
    return Denoiser(GaussianOracle(MEAN, STD, SIGMA_DATA), SIGMA_DATA).double()


def test_loss_of_the_optimal_denoiser_is_the_posterior_variance(oracle):
    n, sigma_value = 200_000, 0.2
    g = torch.Generator().manual_seed(0)
    action = MEAN + STD * torch.randn(n, 1, 1, dtype=torch.float64, generator=g)
    noise = torch.randn(n, 1, 1, dtype=torch.float64, generator=g)
    sigma = torch.full((n,), sigma_value, dtype=torch.float64)
    loss = denoising_loss(oracle, action, torch.zeros(n, 0), sigma, noise, torch.ones(n, 1)).mean()
    posterior_variance = STD**2 * sigma_value**2 / (STD**2 + sigma_value**2)
    weight = (sigma_value**2 + SIGMA_DATA**2) / (sigma_value * SIGMA_DATA) ** 2
    assert loss.item() == pytest.approx(weight * posterior_variance, rel=0.02)


def test_trust_region_loss_is_the_known_parabola_and_its_minimum_the_mode(oracle):
    """E|D(a + sigma eps) - a|^2 = (k (mode - a))^2 + (s^2 sigma / (s^2 + sigma^2))^2 with k = sigma^2/(s^2+sigma^2)."""
    n, sigma_value = 100_000, 0.1
    noise = torch.randn(n, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    sigma = torch.full((n,), sigma_value, dtype=torch.float64)
    weight = (sigma_value**2 + SIGMA_DATA**2) / (sigma_value * SIGMA_DATA) ** 2
    total = STD**2 + sigma_value**2
    losses = {}
    for offset in (-0.2, -0.05, 0.0, 0.05, 0.2):
        action = torch.full((n, 1, 1), MEAN + offset, dtype=torch.float64)
        losses[offset] = denoising_loss(oracle, action, torch.zeros(n, 0), sigma, noise, torch.ones(n, 1)).mean().item()
        expected = weight * ((sigma_value**2 / total * offset) ** 2 + (STD**2 * sigma_value / total) ** 2)
        assert losses[offset] == pytest.approx(expected, rel=0.02)
    assert min(losses, key=losses.get) == 0.0


def test_heun_sampler_reproduces_gaussian_data(oracle):
    noise = torch.randn(20_000, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    sigmas = karras_sigmas(32, 0.002, 80.0).double()
    samples = heun_sample(oracle, torch.zeros(20_000, 0), noise, sigmas)
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.003)
    assert samples.std().item() == pytest.approx(STD, rel=0.05)


def test_karras_schedule_runs_from_high_to_zero():
    sigmas = karras_sigmas(10, 0.01, 50.0)
    assert sigmas[0].item() == pytest.approx(50.0, rel=1e-5)
    assert sigmas[-2].item() == pytest.approx(0.01, rel=1e-4)
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


@pytest.mark.parametrize(("sigma_data", "is_bound"), [(0.5, True), (0.70, True), (0.75, False)])
def test_weighting_is_an_elbo_up_to_the_stated_sigma_data(sigma_data, is_bound):
    """v(sigma) = density of log sigma * weight / (2 / sigma**2) must not decrease (docs/algorithm.md)."""
    sigma = torch.logspace(-3, 2, 2000, dtype=torch.float64)
    density = torch.from_numpy(stats.logistic(np.log(0.5), 0.5).pdf(sigma.log().numpy()))
    _, c_out, _, _ = edm_scalings(sigma, sigma_data)
    v = density / c_out**2 * sigma**2 / 2
    assert bool((v.diff() >= -1e-12).all()) == is_bound
