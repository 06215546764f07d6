"""The paper's losses (arXiv 2405.19690), one function an equation.

Shapes: B batch, H chunk length, A action dimension, O observation dimension.  Noise and noise levels are
arguments, so that each loss is a plain function; each returns one value per sample, so that masks stay exact.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dtql_robot.algorithm.diffusion import Denoiser, edm_scalings
from dtql_robot.algorithm.networks import smaller
from dtql_robot.algorithm.peers import ALONE, Peers


def chunk_mean(error: Tensor, valid: Tensor) -> Tensor:
    """Mean over a chunk's (H, A) entries, those past the episode's end counting as 0.

    error: (..., B, H, A).  valid: (B, H).  Returns (..., B).
    """
    return (error.mean(dim=-1) * valid).mean(dim=-1)


def denoising_loss(
    denoiser: Denoiser, action: Tensor, obs: Tensor, sigma: Tensor, noise: Tensor, valid: Tensor
) -> Tensor:
    """EDM-weighted denoising error (Eq. 2; Eq. 4 when `action` is the policy's own and the denoiser is frozen).

    The weight 1 / c_out**2 = (sigma**2 + sigma_data**2) / (sigma * sigma_data)**2 makes the raw network's
    regression target unit variance at every sigma.  It is one of the weightings under which the loss is a
    bound on log p(action | obs) up to a monotonic reweighting of noise levels (Kingma & Gao 2024).

    action, noise: (B, H, A) in [-1, 1] / standard normal.  obs: (B, O).  sigma: (B,).  valid: (B, H).  Returns (B,).
    """
    denoised = denoiser(action + sigma[:, None, None] * noise, sigma, obs)
    _, c_out, _, _ = edm_scalings(sigma, denoiser.sigma_data)
    return chunk_mean((denoised - action) ** 2, valid) / c_out**2


def tanh_gaussian_nll(mean: Tensor, log_std: Tensor, action: Tensor, valid: Tensor) -> Tensor:
    """Negative log-likelihood of recorded actions under tanh(N(mean, std)), without its constant (section 2.3).

    The Jacobian of tanh at a recorded action does not depend on the policy and is left out.  Actions are
    shrunk by 1.001 so that +-1 stays finite, as the official code does.
    mean, log_std: (..., B, H, A).  action: (B, H, A).  valid: (B, H).  Returns (..., B).
    """
    raw = torch.atanh(action / 1.001)
    nll = 0.5 * ((raw - mean) / log_std.exp()) ** 2 + log_std + 0.5 * math.log(2 * math.pi)
    return chunk_mean(nll, valid)


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Asymmetric squared error |expectile - 1(u < 0)| u**2 (Eq. 6), elementwise."""
    weight = torch.where(difference < 0, 1 - expectile, expectile)
    return weight * difference**2


def value_loss(v: Tensor, target_q: Tensor, expectile: float) -> Tensor:
    """V's expectile regression on the smaller target Q (Eq. 6).  v: (B,).  target_q: (N, B).  Returns (B,)."""
    return expectile_loss(smaller(target_q) - v, expectile)


def q_loss(q: Tensor, reward: Tensor, discount: Tensor, next_v: Tensor) -> Tensor:
    """Squared TD error of each Q against reward + discount * V(s') (Eq. 7), summed over them.

    q: (N, B).  reward, discount, next_v: (B,).  Returns (B,).
    """
    return ((reward + discount * next_v - q) ** 2).sum(dim=0)


def masked_mean(values: Tensor, mask: Tensor, peers: Peers = ALONE) -> Tensor:
    """Mean of `values` where mask is 1, else 0; with `peers` its mean over the processes is that of all.

    (B,), (B,) of 0 and 1 -> scalar.
    """
    return (values * mask).sum() / peers.mean(mask.sum()).clamp(min=1e-6)


def kl_loss(
    real: Denoiser, fake: Denoiser, action: Tensor, obs: Tensor, sigma: Tensor, noise: Tensor, valid: Tensor
) -> Tensor:
    """A loss whose gradient is that of KL(policy || behaviour) (section 3 of the paper; Yin et al. 2023).

    The score difference of the two noised distributions is proportional to D_fake - D_real at the same noisy
    action; dividing by mean|action - D_real| evens out noise levels.  Both denoisers are read without gradient:
    the value is half the squared step, the gradient on `action` is the step itself.
    Shapes as in `denoising_loss`.  Returns (B,).
    """
    with torch.no_grad():
        noisy = action + sigma[:, None, None] * noise
        clean = real(noisy, sigma, obs)
        step = (fake(noisy, sigma, obs) - clean) / (action - clean).abs().mean(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    return chunk_mean(0.5 * (action - (action - step).detach()) ** 2, valid)


def step_gain(action: Tensor, gradient: Tensor, recorded: Tensor, valid: Tensor, peers: Peers = ALONE) -> Tensor:
    """A function of `action`, linear along Q's gradient, that is scaled by how far the data lie from the policy.

    r is the distance of recorded actions from the policy's, root mean square over the batch.  Against a loss
    curvature * mean(d**2), the term weight * curvature * step_gain moves the policy along the gradient by a step d of
    root mean square weight * r.  The unit of Q, and how steep a critic is where it saw few actions, do not matter.  All
    entries of a chunk share one r: weighted by the spread of each, the step goes where the demonstrations jitter, not
    where the task is (docs/recipe.md).

    action, gradient, recorded: (B, H, A), Q's gradient at the action.  valid: (B, H).  Returns a scalar.
    """
    with torch.no_grad():
        known = valid[..., None].expand_as(gradient)
        spread = peers.mean(masked_mean((action - recorded) ** 2, known, peers)).sqrt()
        steep = peers.mean(masked_mean(gradient**2, known, peers)).sqrt().clamp(min=1e-12)
        step = spread * gradient * known / steep
    return 2 * (step * action).mean()


def advantage_weights(advantage: Tensor, temperature: float, peers: Peers = ALONE, *, largest: float = 100.0) -> Tensor:
    """IQL's policy weights exp(temperature * advantage), the advantage in units of its spread.  (B,) -> (B,)."""
    spread = peers.rows_of_all(advantage).std().clamp(min=1e-6)
    return (temperature * advantage / spread).exp().clamp(max=largest)
