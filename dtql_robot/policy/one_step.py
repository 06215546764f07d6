"""The trained policy as it is deployed: observations in, actions out, one forward pass a chunk, no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dtql_robot import checkpoint
from dtql_robot.algorithm.agent import DTQL
from dtql_robot.algorithm.diffusion import heun_sample, karras_sigmas
from dtql_robot.algorithm.networks import GaussianPolicy, ImplicitPolicy
from dtql_robot.checkpoint import make_agent
from dtql_robot.errors import InputError
from dtql_robot.policy.action_plan import ActionPlan, exponential_weights
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.numpy_mean import numpy_mean
from dtql_robot.policy.numpy_policy import NumpyPolicy
from dtql_robot.types import Array, ImageObs, Obs


class OneStepPolicy:
    """DTQL's one-step policy with normalization, image encoders and chunking inside.

    It acts with the moving average of the policy; the target Q only chooses among candidates, if asked to.
    """

    def __init__(self, agent: DTQL, interface: Interface):
        cfg = agent.cfg
        self.network: GaussianPolicy | ImplicitPolicy = agent.ema_policy
        self.critic, self.denoiser, self.device = agent.target_q, agent.denoiser, agent.device
        self.encoder = agent.ema_encoder
        self.interface, self.cfg, self.frames = interface, cfg.policy, cfg.encoder.frame_stack
        self.horizon, self._data = cfg.data.horizon, cfg.data
        self.action_dim = interface.action_dim
        d = cfg.diffusion
        self._mean = numpy_mean(self.network)
        self.sigmas = karras_sigmas(d.sampler_steps, d.sigma_min, d.sigma_max, device=agent.device)
        self.set_plan(None, None)

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode for `act`: forget the chunk under way.  seed: of the policy's noise."""
        self._rng = np.random.default_rng(seed)
        self._plan = ActionPlan(self.n_action_steps, self.chunk_weights)
        self._queue: list[Array] = []
        self._past: list[dict[str, Array]] = []

    def set_plan(
        self, n_action_steps: int | None, temporal_ensemble_coeff: float | Literal["fit", "off"] | None
    ) -> None:
        """Execute chunks otherwise than configured; None leaves a setting as it is.  Begins a new episode for `act`."""
        data = self._data
        if n_action_steps is not None:
            data = replace(data, n_action_steps=n_action_steps)
        if temporal_ensemble_coeff is not None:
            coeff = None if temporal_ensemble_coeff == "off" else temporal_ensemble_coeff
            data = replace(data, temporal_ensemble_coeff=coeff)
        self._data = data
        self.n_action_steps, self.chunk_weights = data.n_action_steps, self._weights()
        self.reset()

    def _weights(self) -> tuple[float, ...] | None:
        n, coeff = self._data.n_action_steps, self._data.temporal_ensemble_coeff
        if coeff != "fit":
            return None if coeff is None else exponential_weights(coeff, self.horizon, n)
        if not self.interface.chunk_weights:
            raise InputError("This run has no fitted chunk weights; give --temporal-ensemble-coeff a number or off.")
        return self.interface.chunk_weights[n - 1]

    def portable(self) -> NumpyPolicy | None:
        """The same actions, bit for bit, from a policy that other processes can have without torch (see
        `types.Policy`); None where acting takes noise, a critic, the denoiser, images, or a GPU."""
        if self.cfg.act != "mean" or self.encoder is not None or self._mean is None:
            return None
        return NumpyPolicy(self.interface, self._mean, self.n_action_steps, self.chunk_weights)

    @property
    def image_obs(self) -> ImageObs | None:
        """The images that it needs to be shown; None where it needs none."""
        shapes = {k: (s[0], s[1], s[2]) for k, s in self.interface.image_shapes.items()}
        return ImageObs(shapes, self.frames) if shapes else None

    def act(self, obs: Obs) -> Array:
        """The next action for one robot.  obs: key -> (...) without batch dimension.  Returns (A,) float32.

        Images are (height, width, channels) uint8, one a call: where the policy sees several frames it remembers them.
        """
        if self.frames > 1:
            images = {k: np.asarray(obs[k]) for k in self.interface.image_keys if k in obs}
            self._past = [*(self._past or [images] * self.frames)[1 - self.frames :], images]
            obs = {**obs, **{k: np.stack([past[k] for past in self._past]) for k in images}}
        if not self._queue:
            chunk = self.predict({k: np.asarray(v)[None] for k, v in obs.items()}, [self._rng])[0]
            self._queue = list(self._plan.next(chunk))
        return self._queue.pop(0)

    def predict(self, obs: Obs, rngs: Sequence[np.random.Generator]) -> Array:
        """The next H actions of B robots (see `types.Policy`).  Returns (B, H, A).

        Images are (B, height, width, channels) uint8, with several frames (B, frames, height, width, channels).
        Rows are computed each on its own: matrix products of other sizes round differently, and a robot's actions
        must not depend on how many others are evaluated beside it.
        """
        states = self._states(obs)
        if self.cfg.act == "mean" and self._mean is not None:
            seen = states if self.encoder is None else states[:, self.encoder.columns("policy")]
            chunks = self._mean(seen)
        else:
            chunks = np.stack([self._chunk(s, rng) for s, rng in zip(states, rngs, strict=True)])
        return self.interface.action_norm.invert(chunks)

    def _states(self, obs: Obs) -> Array:
        """What the networks see, one row a robot: normalized low-dimensional entries, and features of the images."""
        self.interface.check(obs, self.frames)
        low = self.interface.low_dim(obs)
        return low if self.encoder is None else np.stack([self._encode(obs, low, row) for row in range(len(low))])

    @torch.inference_mode()
    def _encode(self, obs: Obs, low: Array, row: int) -> Array:
        """The features of one robot: (F,)."""
        assert self.encoder is not None
        images = self._images(obs, row)
        return self.encoder.encode(torch.from_numpy(low[row]).to(self.device)[None], images)[0].cpu().numpy()

    def _images(self, obs: Obs, row: int) -> dict[str, Tensor]:
        """One robot's images, key -> (1, frames, H, W, C)."""
        found = {k: torch.from_numpy(np.array(obs[k][row])).to(self.device) for k in self.interface.image_keys}
        return {k: v[None] if self.frames > 1 else v[None, None] for k, v in found.items()}

    def attention(self, obs: Obs, kind: Literal["keypoints", "saliency"]) -> dict[str, Array]:
        """Where the policy looks in the images of one robot.  obs: key -> (...) without batch dimension.

        keypoints: key -> (K, 3): across and down in pixels, and over how many pixels the point is spread.
        saliency:  key -> (H, W) in [0, 1]: how much the first action changes with the pixel, as a share of the most.
        InputError for a policy without images, or an encoder without keypoints.
        """
        if self.encoder is None:
            raise InputError("The policy sees no images, so there is nothing to show of where it looks.")
        batch = {k: np.asarray(v)[None] for k, v in obs.items()}
        self.interface.check(batch, self.frames)
        images = self._images(batch, 0)
        if kind == "keypoints":
            with torch.no_grad():
                return {k: v[0].cpu().numpy() for k, v in self.encoder.keypoints(images).items()}
        low = self.interface.low_dim(batch)
        pixels = {k: v.float().requires_grad_() for k, v in images.items()}
        state = self.encoder.encode(torch.from_numpy(low).to(self.device), pixels)
        action = self.network.mode(self._seen_by("policy", state))[0, 0]
        total = {k: torch.zeros(v.shape[2:4], device=self.device) for k, v in pixels.items()}
        for entry in action:
            slopes = torch.autograd.grad(entry, list(pixels.values()), retain_graph=True)
            for key, slope in zip(pixels, slopes, strict=True):
                total[key] += slope.abs().sum(dim=(0, 1, 4))
        most = max(float(v.max()) for v in total.values()) or 1.0
        return {k: (v / most).cpu().numpy() for k, v in total.items()}

    def _seen_by(self, network: str, state: Tensor) -> Tensor:
        return state if self.encoder is None else state[:, self.encoder.columns(network)]

    @torch.inference_mode()
    def _chunk(self, state: Array, rng: np.random.Generator) -> Array:
        """state: (O,) of `_states`.  Returns (H, A) normalized."""
        whole = torch.from_numpy(state).to(self.device)[None]
        obs, shape = self._seen_by("policy", whole), (self.horizon, self.action_dim)
        if self.cfg.act == "mean":
            return self.network.mode(obs)[0].cpu().numpy()
        count = 1 if self.cfg.act in ("sample", "diffusion") else self.cfg.candidates
        noise = torch.from_numpy(rng.standard_normal((count, *shape), dtype=np.float32)).to(self.device)
        if self.cfg.act == "diffusion":
            return heun_sample(self.denoiser, self._seen_by("denoiser", whole), noise, self.sigmas)[0].cpu().numpy()
        chunks = self.network(obs.expand(count, -1), noise)
        seen = self._seen_by("critic", whole).expand(count, -1)
        return chunks[self._choose(seen, chunks, rng)].cpu().numpy()

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
    agent = make_agent(cfg, interface, target)
    agent.load_state_dict(state)
    return OneStepPolicy(agent, interface)
