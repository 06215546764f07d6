"""Continuous-time diffusion in EDM's notation (Karras et al. 2022, arXiv 2206.00364).

A noisy action is x = action + sigma * noise (the paper's alpha_t = 1, sigma_t = sigma).
"""

from __future__ import annotations

import functools
import itertools
import math

import torch
from torch import Tensor, nn


def edm_scalings(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """EDM's c_skip, c_out, c_in, c_noise (table 1 there), each of sigma's shape."""
    total = sigma**2 + sigma_data**2
    c_skip = sigma_data**2 / total
    c_out = sigma * sigma_data * total.rsqrt()
    c_in = total.rsqrt()
    c_noise = sigma.log() / 4
    return c_skip, c_out, c_in, c_noise


def sample_sigma(u: Tensor, density: str, loc: float, scale: float, low: float, high: float) -> Tensor:
    """Noise levels of a density truncated to [low, high], by inverse CDF.

    u: uniform in [0, 1), any shape.  log sigma is Logistic(loc, scale) for "log-logistic", Normal(loc, scale) for
    "log-normal", uniform for "log-uniform".  Returns sigma of u's shape.
    """
    if density == "log-uniform":
        log_sigma = math.log(low) + u * (math.log(high) - math.log(low))
    else:
        first, last = _cdf_at(density, (math.log(low) - loc) / scale, (math.log(high) - loc) / scale)
        log_sigma = loc + scale * QUANTILE[density](first + u * (last - first))
    return log_sigma.exp().clamp(low, high)


CDF = {"log-logistic": torch.sigmoid, "log-normal": torch.special.ndtr}
QUANTILE = {"log-logistic": torch.logit, "log-normal": torch.special.ndtri}


@functools.cache
def _cdf_at(density: str, *z: float) -> tuple[float, ...]:
    """The density's distribution function at z, once for all updates."""
    return tuple(CDF[density](torch.tensor(z, dtype=torch.float64)).tolist())


class Denoiser(nn.Module):
    """D(x; sigma | obs): the preconditioned denoiser mu_phi, an estimate of the clean action chunk."""

    def __init__(self, net: nn.Module, sigma_data: float):
        super().__init__()
        self.net = net
        self.sigma_data = sigma_data

    def forward(self, noisy: Tensor, sigma: Tensor, obs: Tensor) -> Tensor:
        """noisy: (B, H, A).  sigma: (B,).  obs: (B, O).  Returns the denoised chunk (B, H, A) in [-1, 1]."""
        return self.unbounded(noisy, sigma, obs).clamp(-1, 1)

    def unbounded(self, noisy: Tensor, sigma: Tensor, obs: Tensor) -> Tensor:
        """`forward` without the clamp, beyond which nothing has a gradient."""
        c_skip, c_out, c_in, c_noise = edm_scalings(sigma, self.sigma_data)
        residual = self.net(c_in[:, None, None] * noisy, c_noise, obs)
        return c_skip[:, None, None] * noisy + c_out[:, None, None] * residual


def karras_sigmas(steps: int, low: float, high: float, rho: float = 7.0, device: torch.device | None = None) -> Tensor:
    """EDM's sampling schedule (eq. 5 there): steps noise levels from high to low, then 0.  Returns (steps + 1,)."""
    ramp = torch.linspace(0, 1, steps, device=device)
    sigmas = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)])


@torch.no_grad()
def heun_sample(denoiser: Denoiser, obs: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """EDM's deterministic second-order sampler (algorithm 1 there).  For diagnosis and as a baseline only.

    obs: (B, O).  noise: (B, H, A) standard normal.  sigmas: (S + 1,) falling to 0.  Returns (B, H, A).
    """
    x = noise * sigmas[0]
    for now, after in itertools.pairwise(sigmas):
        slope = (x - denoiser(x, now.expand(len(x)), obs)) / now
        euler = x + (after - now) * slope
        if after == 0:
            x = euler
        else:
            slope_after = (euler - denoiser(euler, after.expand(len(x)), obs)) / after
            x = x + (after - now) * (slope + slope_after) / 2
    return x
