"""Diffusion Trusted Q-Learning: the networks and Algorithm 1 of the paper."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dtql_robot import losses
from dtql_robot.config import Config
from dtql_robot.diffusion import Denoiser, sample_sigma
from dtql_robot.encoders import Encoders
from dtql_robot.networks import DenoiserNet, GaussianPolicy, ImplicitPolicy, TwinQ, Value
from dtql_robot.types import Batch, PixelBatch

Losses = dict[str, Tensor]


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Gradients flow through the modules to their inputs, but not into their parameters."""
    for module in modules:
        module.requires_grad_(False)
    try:
        yield
    finally:
        for module in modules:
            module.requires_grad_(True)


def make_policy(cfg: Config, obs_dim: int, action_dim: int) -> GaussianPolicy | ImplicitPolicy:
    """The one-step policy that `cfg.policy` asks for."""
    chunk = (cfg.data.horizon, action_dim)
    p = cfg.policy
    if p.policy == "implicit":
        return ImplicitPolicy(obs_dim, chunk, p.policy_hidden, cfg.optim.activation)
    bounds = (p.log_std_min, p.log_std_max)
    return GaussianPolicy(obs_dim, chunk, p.policy_hidden, cfg.optim.activation, bounds)


def make_denoiser(cfg: Config, obs_dim: int, action_dim: int, sigma_data: float) -> Denoiser:
    """The preconditioned denoiser that `cfg.diffusion` asks for."""
    d = cfg.diffusion
    chunk = (cfg.data.horizon, action_dim)
    return Denoiser(DenoiserNet(obs_dim, chunk, d.denoiser_width, d.denoiser_blocks, cfg.optim.activation), sigma_data)


class DTQL:
    """Denoiser, one-step policy and IQL critics with their optimizers.

    obs_dim: O, low-dimensional entries.  action_dim: A.  sigma_data: standard deviation of the normalized actions.
    image_shapes: key -> (height, width, channels) of image observations; their features then join the O entries.
    All random draws come from `generator`, which lives on `device`.
    """

    def __init__(
        self,
        cfg: Config,
        obs_dim: int,
        action_dim: int,
        sigma_data: float,
        device: torch.device,
        image_shapes: Mapping[str, tuple[int, ...]] | None = None,
    ):
        self.cfg, self.device, self.step = cfg, device, 0
        torch.manual_seed(cfg.seed)
        self.encoder = Encoders(cfg.encoder, obs_dim, image_shapes).to(device) if image_shapes else None
        if self.encoder is not None:
            obs_dim = self.encoder.feature_dim
        action_size, c, activation = cfg.data.horizon * action_dim, cfg.critic, cfg.optim.activation
        self.q = TwinQ(obs_dim, action_size, c.critic_hidden, activation).to(device)
        self.v = Value(obs_dim, c.critic_hidden, activation).to(device)
        self.denoiser = make_denoiser(cfg, obs_dim, action_dim, sigma_data).to(device)
        self.policy = make_policy(cfg, obs_dim, action_dim).to(device)
        self.target_q = copy.deepcopy(self.q).requires_grad_(False)
        self.ema_policy = copy.deepcopy(self.policy).requires_grad_(False)
        self.networks = {n: getattr(self, n) for n in ("q", "v", "target_q", "denoiser", "policy", "ema_policy")}
        self.optimizers = {
            "critic": self._adam(self.q, self.v),
            "denoiser": self._adam(self.denoiser),
            "policy": self._adam(self.policy),
        }
        if cfg.policy.regularizer == "kl":
            self.fake = self.networks["fake"] = copy.deepcopy(self.denoiser)
            self.optimizers["fake"] = self._adam(self.fake)
        self.ema_encoder: Encoders | None = None
        if self.encoder is not None:
            self.ema_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
            self.networks |= {"encoder": self.encoder, "ema_encoder": self.ema_encoder}
            self.optimizers["encoder"] = self._adam(self.encoder)
        self.generator = torch.Generator(device).manual_seed(cfg.seed)
        if cfg.optim.compile:
            for name in ("critic_loss", "denoiser_loss", "policy_loss"):
                setattr(self, name, torch.compile(getattr(self, name), dynamic=False))

    def update(self, batch: Batch | PixelBatch) -> Losses:
        """One iteration of Algorithm 1, less what nothing reads.  Returns scalar tensors, still on the device."""
        self._set_lr()
        b, features = self._encode(batch) if isinstance(batch, PixelBatch) else (self._with_noise(batch), None)
        p, log = self.cfg.policy, {"q_spread": b.obs.new_ones(())}
        if p.uses_critic:
            log |= self._step("critic", *self.critic_loss(b))
        if p.uses_denoiser:
            log |= self._step("denoiser", *self.denoiser_loss(b))
        if self.step >= self.cfg.optim.pretrain_steps:
            if p.regularizer == "kl":
                log |= self._step("fake", *self.fake_loss(b))
            with frozen(self.denoiser, self.q):
                log |= self._step("policy", *self.policy_loss(b, log["q_spread"]))
            polyak_(self.ema_policy, self.policy, 1 - self._ema_decay())
        if features is not None:
            self._step_encoder(features, b.obs.grad)
        polyak_(self.target_q, self.q, self.cfg.critic.tau)
        self.step += 1
        return log

    def critic_loss(self, b: Batch) -> tuple[Tensor, Losses]:
        """Eqs. 6 and 7."""
        b = self._seen_by("critic", b)
        c = self.cfg.critic
        with torch.no_grad():
            regressed_q = (self.target_q if c.v_target == "target" else self.q)(b.obs, b.action)
            next_v = self.v(b.next_obs)
        v, q = self.v(b.obs), self.q(b.obs, b.action)
        v_loss = losses.value_loss(v, regressed_q, c.expectile).mean()
        q_loss = losses.masked_mean(losses.q_loss(q, b.reward, b.discount, next_v), b.td_valid)
        log = {"v_loss": v_loss, "q_loss": q_loss, "v": v.mean(), "q": q.mean(), "q_spread": q.min(dim=0).values.std()}
        return v_loss + q_loss, log

    def denoiser_loss(self, b: Batch) -> tuple[Tensor, Losses]:
        """Eq. 2: behaviour cloning by denoising."""
        b = self._seen_by("denoiser", b)
        sigma, noise = self._sigma(b.obs), self._noise(b.action)
        loss = losses.denoising_loss(self.denoiser, b.action, b.obs, sigma, noise, b.valid).mean()
        return loss, {"denoiser_loss": loss}

    def fake_loss(self, b: Batch) -> tuple[Tensor, Losses]:
        """The second denoiser of the KL regularizer learns the policy's own actions."""
        with torch.no_grad():
            action = self.policy(self._seen_by("policy", b).obs, self._policy_noise(b.action))
        b = self._seen_by("denoiser", b, constant=True)
        loss = losses.denoising_loss(self.fake, action, b.obs, self._sigma(b.obs), self._noise(action), b.valid).mean()
        return loss, {"fake_loss": loss}

    def policy_loss(self, b: Batch, q_spread: Tensor) -> tuple[Tensor, Losses]:
        """Eq. 5 with the likelihood term: alpha * L_TR - Q / q_spread + gamma * NLL.

        q_spread: standard deviation of Q over recorded actions, the unit that makes the weights mean the same on
        every reward scale (1 with normalize_q off).
        """
        p = self.cfg.policy
        action = self.policy(self._seen_by("policy", b).obs, self._policy_noise(b.action))
        nll, regularizer, q = self._likelihood(action, b), self._regularizer(action, b), self._q_at(action, b)
        if p.normalize_q:
            q = q / q_spread.clamp(min=1e-6)
        loss = p.trust_region_weight * regularizer + p.nll_weight * nll - p.q_weight * q
        return loss, {p.regularizer: regularizer, "nll": nll, "policy_q": q, "policy_loss": loss}

    def _regularizer(self, action: Tensor, b: Batch) -> Tensor:
        """Eq. 4, or the KL of section 3, at the policy's own action."""
        p = self.cfg.policy
        if p.trust_region_weight == 0:
            return action.new_zeros(())
        b = self._seen_by("denoiser", b, constant=True)
        sigma, noise = self._sigma(b.obs, p.tr_sigma_min, p.tr_sigma_max), self._noise(action)
        if p.regularizer == "kl":
            return losses.kl_loss(self.denoiser, self.fake, action, b.obs, sigma, noise, b.valid).mean()
        return losses.denoising_loss(self.denoiser, action, b.obs, sigma, noise, b.valid).mean()

    def _q_at(self, action: Tensor, b: Batch) -> Tensor:
        """Mean of min(Q1, Q2) at the policy's action."""
        if self.cfg.policy.q_weight == 0:
            return action.new_zeros(())
        return self.q(self._seen_by("critic", b, constant=True).obs, action).min(dim=0).values.mean()

    def _likelihood(self, action: Tensor, b: Batch) -> Tensor:
        """Section 2.3's term on recorded actions, weighted by their advantage if asked for."""
        p = self.cfg.policy
        if p.nll_weight == 0:
            return b.obs.new_zeros(())
        obs = self._seen_by("policy", b).obs
        if p.nll == "mse":
            mean = action if p.tr_at == "mean" else self.policy.mode(obs)
            nll = losses.chunk_mean((mean - b.action) ** 2, b.valid)
        else:
            assert isinstance(self.policy, GaussianPolicy)
            mean, log_std = self.policy.distribution(obs)
            nll = losses.tanh_gaussian_nll(mean, log_std, b.action, b.valid)
        if p.awr_temperature:
            with torch.no_grad():
                obs = self._seen_by("critic", b).obs
                advantage = self.target_q(obs, b.action).min(dim=0).values - self.v(obs)
                weight = losses.advantage_weights(advantage, p.awr_temperature)
            nll = nll * weight / weight.mean()
        return nll.mean()

    def _seen_by(self, network: str, b: Batch, constant: bool = False) -> Batch:
        """The batch with the features that a network reads; without images, the batch.

        The network's loss trains the encoder if `encoder_losses` says so, and never where it is `constant`: a judge of
        the policy's action must not be pleased by changing what it sees.
        """
        if self.encoder is None:
            return b
        columns = self.encoder.columns(network)
        obs = b.obs[:, columns]
        if constant or network not in self.cfg.encoder.encoder_losses:
            obs = obs.detach()
        return b._replace(obs=obs, next_obs=b.next_obs[:, columns])

    def _encode(self, b: PixelBatch) -> tuple[Batch, Tensor]:
        """Augment and encode once for all networks, see `Encoders.encode_batch`."""
        assert self.encoder is not None
        return self.encoder.encode_batch(b._replace(low=self._with_noise(b.low)), self.generator)

    def _step_encoder(self, features: Tensor, grad: Tensor | None) -> None:
        """One step of the encoder along the gradients that the losses left at its features."""
        assert self.encoder is not None
        assert self.ema_encoder is not None
        if grad is not None and features.requires_grad:
            self.optimizers["encoder"].zero_grad(set_to_none=True)
            features.backward(grad)
            self.optimizers["encoder"].step()
        if self.step >= self.cfg.optim.pretrain_steps:
            polyak_(self.ema_encoder, self.encoder, 1 - self._ema_decay())

    def _with_noise(self, b: Batch) -> Batch:
        scale = self.cfg.optim.obs_noise
        return b._replace(obs=b.obs + scale * self._noise(b.obs)) if scale else b

    def _policy_noise(self, like: Tensor) -> Tensor:
        return self._noise(like) if self.cfg.policy.tr_at == "sample" else torch.zeros_like(like)

    def _noise(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, dtype=like.dtype, device=self.device, generator=self.generator)

    def _sigma(self, obs: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
        """(B,) noise levels between low and high, by default the denoiser's own range."""
        d = self.cfg.diffusion
        u = torch.rand(len(obs), dtype=obs.dtype, device=self.device, generator=self.generator)
        return sample_sigma(u, d.sigma_density, d.sigma_loc, d.sigma_scale, low or d.sigma_min, high or d.sigma_max)

    def _adam(self, *modules: nn.Module) -> torch.optim.Adam:
        trained = [p for m in modules for p in m.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, lr=self.cfg.optim.lr, fused=True)

    def _step(self, name: str, loss: Tensor, log: Losses) -> Losses:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {k: v.detach() for k, v in log.items()}

    def _ema_decay(self) -> float:
        """The average's decay, smaller in the first updates so that it forgets the initial weights."""
        updates = self.step - self.cfg.optim.pretrain_steps
        return min(self.cfg.optim.ema_decay, (1 + updates) / (10 + updates))

    def _set_lr(self) -> None:
        o = self.cfg.optim
        factor = 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / self.cfg.steps))) if o.lr_decay else 1.0
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = o.lr * factor

    def state_dict(self) -> dict[str, Any]:
        """Everything that continuing needs: weights, optimizer moments, random state, step."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "generator": self.generator.get_state(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`.  A random state saved on another kind of device cannot be continued and is left."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if state["generator"].numel() == self.generator.get_state().numel():
            self.generator.set_state(state["generator"].cpu())
        self.step = state["step"]


@torch.no_grad()
def polyak_(target: nn.Module, source: nn.Module, step: float) -> None:
    """target <- (1 - step) * target + step * source, in place, in one fused call."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), step)
