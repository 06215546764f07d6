"""Diffusion Trusted Q-Learning: the networks and Algorithm 1 of the paper."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dtql_robot import losses
from dtql_robot.config import Config
from dtql_robot.diffusion import Denoiser, sample_sigma
from dtql_robot.networks import DenoiserNet, GaussianPolicy, ImplicitPolicy, TwinQ, Value
from dtql_robot.types import Batch

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


def make_policy(cfg: Config, obs_dim: int, action_dim: int) -> nn.Module:
    """The one-step policy that `cfg.policy` asks for."""
    chunk = (cfg.data.horizon, action_dim)
    p = cfg.policy
    if p.policy == "implicit":
        return ImplicitPolicy(obs_dim, chunk, p.policy_hidden, cfg.optim.activation)
    bounds = (p.log_std_min, p.log_std_max)
    return GaussianPolicy(obs_dim, chunk, p.policy_hidden, cfg.optim.activation, bounds)


class DTQL:
    """Denoiser, one-step policy and IQL critics with their optimizers.

    obs_dim: O.  action_dim: A.  sigma_data: standard deviation of the normalized actions.
    All random draws come from `generator`, which lives on `device`.
    """

    def __init__(self, cfg: Config, obs_dim: int, action_dim: int, sigma_data: float, device: torch.device):
        self.cfg, self.device = cfg, device
        chunk = (cfg.data.horizon, action_dim)
        activation = cfg.optim.activation
        torch.manual_seed(cfg.seed)
        self.q = TwinQ(obs_dim, math.prod(chunk), cfg.critic.critic_hidden, activation).to(device)
        self.v = Value(obs_dim, cfg.critic.critic_hidden, activation).to(device)
        d = cfg.diffusion
        net = DenoiserNet(obs_dim, chunk, d.denoiser_width, d.denoiser_blocks, activation)
        self.denoiser = Denoiser(net, sigma_data).to(device)
        self.policy = make_policy(cfg, obs_dim, action_dim).to(device)
        self.target_q = copy.deepcopy(self.q).requires_grad_(False)
        self.ema_policy = copy.deepcopy(self.policy).requires_grad_(False)
        self.generator = torch.Generator(device).manual_seed(cfg.seed)
        self.critic_optimizer = self._adam(self.q, self.v)
        self.denoiser_optimizer = self._adam(self.denoiser)
        self.policy_optimizer = self._adam(self.policy)
        self.step = 0

    def _adam(self, *modules: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam([p for m in modules for p in m.parameters()], lr=self.cfg.optim.lr, fused=True)

    def _noise(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, device=self.device, generator=self.generator)

    def _sigma(self, batch_size: int, low: float, high: float) -> Tensor:
        d = self.cfg.diffusion
        u = torch.rand(batch_size, device=self.device, generator=self.generator)
        return sample_sigma(u, d.sigma_loc, d.sigma_scale, low, high)

    def critic_loss(self, b: Batch) -> tuple[Tensor, Losses]:
        """Eqs. 6 and 7.  V regresses on the *target* Q as in the paper."""
        with torch.no_grad():
            target_q = self.target_q(b.obs, b.action)
            next_v = self.v(b.next_obs)
        v, q = self.v(b.obs), self.q(b.obs, b.action)
        v_loss = losses.value_loss(v, target_q, self.cfg.critic.expectile).mean()
        q_loss = losses.masked_mean(losses.q_loss(q, b.reward, b.discount, next_v), b.td_valid)
        return v_loss + q_loss, {"v_loss": v_loss, "q_loss": q_loss, "v": v.mean(), "q": q.mean()}

    def denoiser_loss(self, b: Batch) -> tuple[Tensor, Losses]:
        """Eq. 2: behaviour cloning by denoising."""
        d = self.cfg.diffusion
        sigma = self._sigma(len(b.obs), d.sigma_min, d.sigma_max)
        loss = losses.denoising_loss(self.denoiser, b.action, b.obs, sigma, self._noise(b.action), b.valid).mean()
        return loss, {"denoiser_loss": loss}

    def policy_loss(self, b: Batch) -> tuple[Tensor, Losses]:
        """Eq. 5 with the likelihood term: alpha * L_TR - Q + gamma * NLL."""
        p = self.cfg.policy
        noise = self._noise(b.action) if p.tr_at == "sample" else torch.zeros_like(b.action)
        action = self.policy(b.obs, noise)
        sigma = self._sigma(len(b.obs), p.tr_sigma_min, p.tr_sigma_max)
        tr = losses.denoising_loss(self.denoiser, action, b.obs, sigma, self._noise(action), b.valid).mean()
        nll = self._likelihood(b)
        loss = p.trust_region_weight * tr + p.nll_weight * nll
        log = {"trust_region": tr, "nll": nll}
        if p.q_weight:
            q = self.q(b.obs, action).min(dim=0).values
            q_scale = q.detach().std().clamp(min=1e-6) if p.normalize_q else 1.0
            loss = loss - p.q_weight * (q / q_scale).mean()
            log["policy_q"] = q.mean()
        return loss, log | {"policy_loss": loss}

    def _likelihood(self, b: Batch) -> Tensor:
        p = self.cfg.policy
        if p.nll_weight == 0:
            return torch.zeros((), device=self.device)
        if p.nll == "mse":
            error = (self.policy(b.obs, torch.zeros_like(b.action)) - b.action) ** 2
            return losses.chunk_mean(error, b.valid).mean()
        assert isinstance(self.policy, GaussianPolicy)
        return losses.tanh_gaussian_nll(*self.policy.distribution(b.obs), b.action, b.valid).mean()

    def update(self, b: Batch) -> Losses:
        """One iteration of Algorithm 1.  Returns scalar tensors, still on the device."""
        self._set_lr()
        if self.cfg.optim.obs_noise:
            b = b._replace(obs=b.obs + self.cfg.optim.obs_noise * self._noise(b.obs))
        log: Losses = {}
        log |= self._step(self.critic_optimizer, self.critic_loss(b))
        log |= self._step(self.denoiser_optimizer, self.denoiser_loss(b))
        if self.step >= self.cfg.optim.pretrain_steps:
            with frozen(self.denoiser, self.q):
                log |= self._step(self.policy_optimizer, self.policy_loss(b))
            polyak_(self.ema_policy, self.policy, 1 - self.cfg.optim.ema_decay)
        polyak_(self.target_q, self.q, self.cfg.critic.tau)
        self.step += 1
        return log

    def _step(self, optimizer: torch.optim.Optimizer, loss_and_log: tuple[Tensor, Losses]) -> Losses:
        loss, log = loss_and_log
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {k: v.detach() for k, v in log.items()}

    @property
    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        names = ("q", "v", "target_q", "denoiser", "policy", "ema_policy")
        optimizers = ("critic_optimizer", "denoiser_optimizer", "policy_optimizer")
        return {name: getattr(self, name) for name in names + optimizers}

    def state_dict(self) -> dict[str, Any]:
        """Everything that continuing needs: weights, optimizer moments, random state, step."""
        state: dict[str, Any] = {name: part.state_dict() for name, part in self._parts.items()}
        return state | {"generator": self.generator.get_state(), "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`.  A generator state of another device type is not restored exactly."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        if state["generator"].numel() == self.generator.get_state().numel():
            self.generator.set_state(state["generator"].cpu())
        self.step = state["step"]

    def _set_lr(self) -> None:
        o = self.cfg.optim
        factor = 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / self.cfg.steps))) if o.lr_decay else 1.0
        for optimizer in (self.critic_optimizer, self.denoiser_optimizer, self.policy_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = o.lr * factor


@torch.no_grad()
def polyak_(target: nn.Module, source: nn.Module, step: float) -> None:
    """target <- (1 - step) * target + step * source, in place, in one fused call."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), step)
