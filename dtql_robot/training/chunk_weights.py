"""How much each of the chunks that foresaw an action counts, fitted to the demonstrations.

A chunk that was predicted k decisions ago knows less of what happened since, and more of what was begun then.  Which of
the two matters is a property of the demonstrations: where they react to what the last step brought, the newest chunk is
right; where they pause, the older one knows for how long already.  The weights are those with which the chunks together
forecast the demonstrated actions best (Bates & Granger 1969, "The combination of forecasts"), drawn to even ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.algorithm.diffusion import heun_sample, karras_sigmas
from dtql_robot.training.buffer import ChunkBuffer
from dtql_robot.training.pixel_buffer import PixelBuffer
from dtql_robot.types import Array, Batch, PixelBatch

Weights = tuple[tuple[float, ...], ...]
"""Entry n - 1: the weights where n actions of a chunk are executed, of the newest chunk first, in sum 1."""

SHRINKAGE = 0.05
"""How strongly the weights are drawn to even ones, as a share of the squared error.  The newest chunk was trained on
these very states, which flatters it; where even weights cost less than this, they are better (docs/recipe.md)."""

WINDOWS = {False: 4096, True: 512}
"""Actions to fit to, each foreseen by H chunks; without and with images to encode."""


def fit_chunk_weights(agent: DTQL, buffer: ChunkBuffer | PixelBuffer) -> Weights:
    """The weights that suit what the agent's policy predicts along the demonstrations in `buffer`.

    Even ones where no demonstration is as long as a chunk.
    """
    low = buffer.low if isinstance(buffer, PixelBuffer) else buffer
    targets = _targets(low, WINDOWS[isinstance(buffer, PixelBuffer)])
    if len(targets) == 0:
        return even_weights(low.horizon)
    done = low.actions.index_select(0, torch.from_numpy(targets).to(low.actions.device)).cpu().numpy()
    errors = [done - _foreseen(agent, buffer, targets - ahead, ahead) for ahead in range(low.horizon)]
    flat = np.stack([e.ravel() for e in errors]).astype(np.float64)
    return weights_of(flat @ flat.T / flat.shape[1])


def _targets(buffer: ChunkBuffer, most: int) -> Array:
    """Up to `most` transitions of the behaviour, the same each time, that H chunks of their episode foresaw."""
    rng, before = np.random.default_rng(0), buffer.horizon - 1
    rows = np.arange(len(buffer)) if buffer.behaviour is None else buffer.behaviour.cpu().numpy()
    rows = rows if len(rows) <= 16 * most else rows[np.unique(rng.integers(len(rows), size=16 * most))]
    last = buffer.last.index_select(0, torch.from_numpy(rows).to(buffer.last.device)).cpu().numpy()
    rows = rows[rows + before <= last]
    return before + (np.sort(rng.choice(rows, most, replace=False)) if len(rows) > most else rows)


def even_weights(horizon: int) -> Weights:
    """All chunks count the same."""
    counts = (-(-horizon // n) for n in range(1, horizon + 1))
    return tuple((1 / count,) * count for count in counts)


def weights_of(products: Array) -> Weights:
    """products: (H, H), entry (j, k) the mean product of the errors of actions foreseen j and k steps ahead."""
    horizon = len(products)
    found = []
    for n in range(1, horizon + 1):
        count = -(-horizon // n)
        whole = horizon - n * (count - 1)  # steps of a decision that even the oldest chunk reaches
        ahead = [np.arange(step, horizon, n) for step in range(whole)]
        found.append(_combination(np.sum([products[np.ix_(steps, steps)] for steps in ahead], axis=0)))
    return tuple(found)


def _combination(products: Array) -> tuple[float, ...]:
    """Weights, not negative and in sum 1, of the combination with the least squared error, drawn to even ones.

    Without the signs it is the solution of one linear system; a forecast whose weight comes out negative is left out,
    the most negative one first.
    """
    size = len(products)
    products = products + max(SHRINKAGE * np.trace(products) / size, 1e-12) * np.eye(size)
    used = np.arange(size)
    while True:
        solved = np.linalg.solve(products[np.ix_(used, used)], np.ones(len(used)))
        solved /= solved.sum()
        if solved.min() >= 0:
            break
        used = np.delete(used, solved.argmin())
    weights = np.zeros(size)
    weights[used] = solved
    return tuple(weights.tolist())


@torch.no_grad()
def _foreseen(agent: DTQL, buffer: ChunkBuffer | PixelBuffer, rows: Array, ahead: int) -> Array:
    """What is predicted at transitions `rows` (N,) for the action `ahead` steps later: (N, A) normalized."""
    device = "cpu" if isinstance(buffer, PixelBuffer) else buffer.actions.device
    parts = [torch.from_numpy(part).to(device) for part in np.array_split(rows, -(-len(rows) // 256))]
    return np.concatenate([_chunks(agent, buffer.batch(part))[:, ahead].cpu().numpy() for part in parts])


def _chunks(agent: DTQL, batch: Batch | PixelBatch) -> Tensor:
    """What the run's policy would do at each sample, without noise of its own: (B, H, A)."""
    sampled = agent.cfg.policy.samples_denoiser
    obs = _features(agent, batch, "denoiser" if sampled else "policy")
    if not sampled:
        return agent.ema_policy.mode(obs)
    d, action = agent.cfg.diffusion, batch.low.action if isinstance(batch, PixelBatch) else batch.action
    noise = torch.randn(action.shape, generator=torch.Generator().manual_seed(0)).to(action.device)
    sigmas = karras_sigmas(d.sampler_steps, d.sigma_min, d.sigma_max, device=action.device)
    return heun_sample(agent.denoiser, obs, noise, sigmas)


def _features(agent: DTQL, batch: Batch | PixelBatch, network: str) -> Tensor:
    """The states as `network` sees them."""
    if not isinstance(batch, PixelBatch):
        return batch.obs
    assert agent.ema_encoder is not None
    return agent.ema_encoder.encode(batch.low.obs, batch.images)[:, agent.ema_encoder.columns(network)]
