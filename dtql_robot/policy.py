"""The trained policy as it is deployed: observations in, actions out, one forward pass a chunk, no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dtql_robot import checkpoint
from dtql_robot.agent import DTQL
from dtql_robot.checkpoint import Interface
from dtql_robot.diffusion import heun_sample, karras_sigmas
from dtql_robot.errors import InputError
from dtql_robot.networks import GaussianPolicy, ImplicitPolicy
from dtql_robot.normalize import concatenate
from dtql_robot.types import Array, Obs


class OneStepPolicy:
    """DTQL's one-step policy with normalization and chunking inside.

    It acts with the moving average of the policy; the target Q only chooses among candidates, if asked to.
    """

    def __init__(self, agent: DTQL, interface: Interface):
        cfg = agent.cfg
        self.network: GaussianPolicy | ImplicitPolicy = agent.ema_policy
        self.critic, self.denoiser, self.device = agent.target_q, agent.denoiser, agent.device
        self.interface, self.cfg = interface, cfg.policy
        self.horizon, self.n_action_steps = cfg.data.horizon, cfg.data.n_action_steps
        self.action_dim = interface.action_dim
        d = cfg.diffusion
        self.sigmas = karras_sigmas(d.sampler_steps, d.sigma_min, d.sigma_max, device=agent.device)
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode for `act`: forget the chunk under way.  seed: of the policy's noise."""
        self._rng = np.random.default_rng(seed)
        self._queue: list[Array] = []

    def act(self, obs: Obs) -> Array:
        """The next action for one robot.  obs: key -> (...) without batch dimension.  Returns (A,) float32."""
        if not self._queue:
            self._queue = list(self.predict({k: np.asarray(v)[None] for k, v in obs.items()}, [self._rng])[0])
        return self._queue.pop(0)

    def predict(self, obs: Obs, rngs: Sequence[np.random.Generator]) -> Array:
        """The next `n_action_steps` actions of B robots (see `types.Policy`).  Returns (B, n_action_steps, A).

        Rows are computed one by one: matrix products of other sizes round differently, and a robot's actions
        must not depend on how many others are evaluated beside it.
        """
        states = self.interface.obs_norm.apply(self._concatenate(obs))
        chunks = np.stack([self._chunk(s, rng) for s, rng in zip(states, rngs, strict=True)])
        return self.interface.action_norm.invert(chunks[:, : self.n_action_steps])

    def _concatenate(self, obs: Obs) -> Array:
        face = self.interface
        for key, shape in zip(face.obs_keys, face.obs_shapes, strict=True):
            if key not in obs:
                raise InputError(f"the policy was trained on observation {key!r}; got {sorted(obs)}.")
            if np.shape(obs[key])[1:] != shape:
                raise InputError(f"observation {key!r} has shape {np.shape(obs[key])[1:]}; trained on {shape}.")
        return concatenate(dict(obs), face.obs_keys)

    @torch.inference_mode()
    def _chunk(self, state: Array, rng: np.random.Generator) -> Array:
        """state: (O,) normalized.  Returns (H, A) normalized."""
        obs = torch.from_numpy(state).to(self.device)[None]
        shape = (self.horizon, self.action_dim)
        if self.cfg.act == "mean":
            return self.network.mode(obs)[0].cpu().numpy()
        count = 1 if self.cfg.act in ("sample", "diffusion") else self.cfg.candidates
        noise = torch.from_numpy(rng.standard_normal((count, *shape), dtype=np.float32)).to(self.device)
        if self.cfg.act == "diffusion":
            return heun_sample(self.denoiser, obs, noise, self.sigmas)[0].cpu().numpy()
        obs = obs.expand(count, -1)
        chunks = self.network(obs, noise)
        return chunks[self._choose(obs, chunks, rng)].cpu().numpy()

    def _choose(self, obs: Tensor, chunks: Tensor, rng: np.random.Generator) -> int:
        """Index of the candidate to execute: the best by target min-Q, or a draw from its softmax."""
        if len(chunks) == 1:
            return 0
        q = self.critic(obs, chunks).min(dim=0).values
        if self.cfg.act == "best":
            return int(q.argmax())
        probability = torch.softmax(q.double(), dim=0).cpu().numpy()
        return int(rng.choice(len(probability), p=probability / probability.sum()))


def load_policy(run: str | Path, device: str = "cpu") -> OneStepPolicy:
    """The policy of a run folder, ready to act.

    Example: `policy = load_policy("runs/demo"); policy.reset(seed=0); action = policy.act(obs)`.
    """
    target = torch.device(device)
    cfg, interface, state = checkpoint.read(Path(run), target)
    cfg = replace(cfg, optim=replace(cfg.optim, compile=False))
    agent = DTQL(cfg, interface.obs_dim, interface.action_dim, interface.sigma_data, target)
    agent.load_state_dict(state)
    return OneStepPolicy(agent, interface)
