"""How an action chunk is chosen: the mean, a sample, one of several candidates, or the denoiser's own sampler."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dtql_robot.algorithm.diffusion import heun_sample, karras_sigmas
from dtql_robot.algorithm.model import Model
from dtql_robot.algorithm.networks import smaller
from dtql_robot.config import PolicyConfig
from dtql_robot.policy.state import seen_by
from dtql_robot.types import Array


class ActionChoice:
    """Chooses one robot's chunk as `PolicyConfig.act` says.

    The average of the policy proposes; the target Q only chooses among candidates, the denoiser only acts with
    act=diffusion and act=diffusion-best.
    """

    def __init__(self, model: Model, cfg: PolicyConfig) -> None:
        self.cfg, self.encoder, self.device = cfg, model.ema_encoder, model.device
        self.network, self.critic, self.denoiser = model.ema_policy, model.target_q, model.denoiser
        d = model.cfg.diffusion
        self.sigmas = karras_sigmas(d.sampler_steps, d.sigma_min, d.sigma_max, device=model.device)

    @torch.inference_mode()
    def chunk(self, state: Array, rng: np.random.Generator) -> Array:
        """state: (F,) as the networks see it.  Returns (H, A) normalized."""
        whole = torch.from_numpy(state).to(self.device)[None]
        obs = seen_by(self.encoder, "policy", whole)
        if self.cfg.act == "mean":
            return self.network.mode(obs)[0].cpu().numpy()
        count = self.cfg.candidates if self.cfg.compares_candidates else 1
        drawn = rng.standard_normal((count, *self.network.chunk), dtype=np.float32)
        noise = torch.from_numpy(drawn).to(self.device)
        if self.cfg.samples_denoiser:
            seen = seen_by(self.encoder, "denoiser", whole).expand(count, -1)
            chunks = heun_sample(self.denoiser, seen, noise, self.sigmas)
        else:
            chunks = self.network.candidates(obs, noise)
        if count == 1:
            return chunks[0].cpu().numpy()
        judged = seen_by(self.encoder, "critic", whole).expand(count, -1)
        return chunks[self._index(judged, chunks, rng)].cpu().numpy()

    @torch.inference_mode()
    def values(self, states: Array, chunks: Array) -> Array:
        """Target min-Q of one chunk in each state.  states: (B, F).  chunks: (B, H, A) normalized.  Returns (B,)."""
        seen = seen_by(self.encoder, "critic", torch.from_numpy(states).to(self.device))
        return self._q(seen, torch.from_numpy(np.asarray(chunks, np.float32)).to(self.device)).cpu().numpy()

    def _q(self, obs: Tensor, chunks: Tensor) -> Tensor:
        return smaller(self.critic(obs, chunks))

    def _index(self, obs: Tensor, chunks: Tensor, rng: np.random.Generator) -> int:
        """Index of the candidate to execute: the best by target min-Q, or a draw from its softmax."""
        q = self._q(obs, chunks)
        if self.cfg.act != "softmax":
            return int(q.argmax())
        probability = torch.softmax(q.double(), dim=0).cpu().numpy()
        return int(rng.choice(len(probability), p=probability / probability.sum()))
