"""Diffusion Trusted Q-Learning: the networks and Algorithm 1 of the paper."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dtql_robot.algorithm import losses
from dtql_robot.algorithm.diffusion import Denoiser, sample_sigma
from dtql_robot.algorithm.encoders import Encoders
from dtql_robot.algorithm.networks import DENOISERS, GaussianPolicy, ImplicitPolicy, TwinQ, Value
from dtql_robot.config import Config
from dtql_robot.types import Batch, PixelBatch

Losses = dict[str, Tensor]
Loss = Callable[..., tuple[Tensor, Losses]]
LOSSES = ("critic_loss", "denoiser_loss", "fake_loss", "policy_loss")
"""The methods of DTQL that return (loss, values to log): what is compiled, and batched over seeds."""


class Noise(NamedTuple):
    """The random numbers of one loss, drawn before it, so that losses stay plain functions.

    policy  (B, H, A) standard normal noise of the policy's action, 0 for its mean
    sigma   (B,) noise levels of the denoiser
    normal  (B, H, A) standard normal noise at those levels
    """

    policy: Tensor
    sigma: Tensor
    normal: Tensor


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
    p, activation = cfg.policy, cfg.policy.policy_activation or cfg.optim.activation
    if p.policy == "implicit":
        return ImplicitPolicy(obs_dim, chunk, p.policy_hidden, activation)
    bounds = (p.log_std_min, p.log_std_max)
    return GaussianPolicy(obs_dim, chunk, p.policy_hidden, activation, bounds, p.policy_members)


def make_denoiser(cfg: Config, obs_dim: int, action_dim: int, sigma_data: float) -> Denoiser:
    """The preconditioned denoiser that `cfg.diffusion` asks for."""
    d, chunk = cfg.diffusion, (cfg.data.horizon, action_dim)
    net = DENOISERS[d.denoiser_net](obs_dim, chunk, d.denoiser_width, d.denoiser_blocks, cfg.optim.activation)
    return Denoiser(net, sigma_data)


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
        if cfg.policy.regularizer == "kl":
            self.fake = self.networks["fake"] = copy.deepcopy(self.denoiser)
        self.ema_encoder: Encoders | None = None
        if self.encoder is not None:
            self.ema_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
            self.networks |= {"encoder": self.encoder, "ema_encoder": self.ema_encoder}
        self.optimizers = self._make_optimizers()
        self.generator = torch.Generator(device).manual_seed(cfg.seed)
        self.lr: float | Tensor = cfg.optim.lr
        self.ema_step: float | Tensor = 1.0
        if cfg.optim.precision == "bf16":
            self.transform_losses(self._in_bf16)

    @property
    def generators(self) -> list[torch.Generator]:
        """Every source of random numbers of an update."""
        return [self.generator]

    def transform_losses(self, transform: Callable[[Loss], Loss]) -> None:
        """Replace every loss by transform(loss)."""
        for name in LOSSES:
            setattr(self, name, transform(getattr(self, name)))

    def compile_losses(self) -> None:
        """Compile the losses and their gradients.  One to three minutes at the first update, seconds once torch has
        them in its cache."""
        self.transform_losses(lambda loss: torch.compile(loss, dynamic=False))

    def schedule_on_device(self) -> None:
        """Keep what depends on the step in tensors on the device, where a CUDA graph reads it."""
        self.lr, self.ema_step = (torch.zeros((), device=self.device) for _ in range(2))

    def update(self, batch: Batch | PixelBatch) -> Losses:
        """One iteration of Algorithm 1, less what nothing reads.  Returns scalar tensors, still on the device."""
        self.schedule()
        log = self.iterate(batch)
        self.step += 1
        return log

    def iterate(self, batch: Batch | PixelBatch) -> Losses:
        """What an update does on the device, given the step's learning rate and averaging from `schedule`."""
        b, features = self._encode(batch) if isinstance(batch, PixelBatch) else (self._with_noise(batch), None)
        p, d, log = self.cfg.policy, self.cfg.diffusion, {"q_spread": torch.ones_like(b.reward[..., 0])}
        if p.uses_critic:
            log |= self._step("critic", *self.critic_loss(b))
        if p.uses_denoiser:
            log |= self._step("denoiser", *self.denoiser_loss(b, self._noise(b, d.sigma_min, d.sigma_max)))
        if self.step >= self.cfg.optim.pretrain_steps:
            if p.regularizer == "kl":
                log |= self._step("fake", *self.fake_loss(b, self._noise(b, d.sigma_min, d.sigma_max, policy=True)))
            noise = self._noise(b, p.tr_sigma_min, p.tr_sigma_max, policy=True)
            with frozen(self.denoiser, self.q):
                log |= self._step("policy", *self.policy_loss(b, log["q_spread"], noise))
            polyak_(self.ema_policy, self.policy, self.ema_step)
        if features is not None:
            self._step_encoder(features, b.obs.grad)
        polyak_(self.target_q, self.q, self.cfg.critic.tau)
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

    def denoiser_loss(self, b: Batch, noise: Noise) -> tuple[Tensor, Losses]:
        """Eq. 2: behaviour cloning by denoising."""
        b = self._seen_by("denoiser", b)
        loss = losses.denoising_loss(self.denoiser, b.action, b.obs, noise.sigma, noise.normal, b.valid).mean()
        return loss, {"denoiser_loss": loss}

    def fake_loss(self, b: Batch, noise: Noise) -> tuple[Tensor, Losses]:
        """The second denoiser of the KL regularizer learns the policy's own actions."""
        with torch.no_grad():
            action = self.policy(self._seen_by("policy", b).obs, noise.policy)
        b = self._seen_by("denoiser", b, constant=True)
        loss = losses.denoising_loss(self.fake, action, b.obs, noise.sigma, noise.normal, b.valid).mean()
        return loss, {"fake_loss": loss}

    def policy_loss(self, b: Batch, q_spread: Tensor, noise: Noise) -> tuple[Tensor, Losses]:
        """Eq. 5 with the likelihood term: alpha * L_TR - Q / q_spread + gamma * NLL.

        q_spread: standard deviation of Q over recorded actions, the unit that makes the weights mean the same on
        every reward scale (1 with normalize_q off).
        """
        p = self.cfg.policy
        members = self.policy.members(self._seen_by("policy", b).obs, noise.policy)
        action = torch.tanh(members.mean(dim=0))
        nll, regularizer, q = self._likelihood(members, b), self._regularizer(action, b, noise), self._q_at(action, b)
        if p.normalize_q:
            q = q / q_spread.clamp(min=1e-6)
        loss = p.trust_region_weight * regularizer + p.nll_weight * nll - p.q_weight * q
        return loss, {p.regularizer: regularizer, "nll": nll, "policy_q": q, "policy_loss": loss}

    def _regularizer(self, action: Tensor, b: Batch, noise: Noise) -> Tensor:
        """Eq. 4, or the KL of section 3, at the policy's own action."""
        p = self.cfg.policy
        if p.trust_region_weight == 0:
            return action.new_zeros(())
        b = self._seen_by("denoiser", b, constant=True)
        if p.regularizer == "kl":
            kl = losses.kl_loss(self.denoiser, self.fake, action, b.obs, noise.sigma, noise.normal, b.valid)
            return kl.mean()
        return losses.denoising_loss(self.denoiser, action, b.obs, noise.sigma, noise.normal, b.valid).mean()

    def _q_at(self, action: Tensor, b: Batch) -> Tensor:
        """Mean of min(Q1, Q2) at the policy's action."""
        if self.cfg.policy.q_weight == 0:
            return action.new_zeros(())
        return self.q(self._seen_by("critic", b, constant=True).obs, action).min(dim=0).values.mean()

    def _likelihood(self, members: Tensor, b: Batch) -> Tensor:
        """Section 2.3's term on recorded actions, weighted by their advantage if asked for.

        Each member of the policy answers for itself, so that they differ where the data leave it open; their mean is
        what the trust region and Q see.
        """
        p = self.cfg.policy
        if p.nll_weight == 0:
            return b.obs.new_zeros(())
        obs = self._seen_by("policy", b).obs
        if p.nll == "mse":
            if p.tr_at == "sample":
                members = self.policy.members(obs, torch.zeros_like(b.action))
            nll = losses.chunk_mean((torch.tanh(members) - b.action) ** 2, b.valid)
        else:
            assert isinstance(self.policy, GaussianPolicy)
            mean, log_std = self.policy.distributions(obs)
            nll = losses.tanh_gaussian_nll(mean, log_std, b.action, b.valid)
        nll = nll.mean(dim=0)
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
            polyak_(self.ema_encoder, self.encoder, self.ema_step)

    def _with_noise(self, b: Batch) -> Batch:
        scale = self.cfg.optim.obs_noise
        return b._replace(obs=b.obs + scale * self._normal(b.obs)) if scale else b

    def _noise(self, b: Batch, low: float, high: float, policy: bool = False) -> Noise:
        """What one loss draws: the policy's noise if it is asked for, noise levels in [low, high], noise at those."""
        sampled = policy and self.cfg.policy.tr_at == "sample"
        action = self._normal(b.action) if sampled else torch.zeros_like(b.action)
        d, u = self.cfg.diffusion, self._uniform(b.reward)
        sigma = sample_sigma(u, d.sigma_density, d.sigma_loc, d.sigma_scale, low, high)
        return Noise(action, sigma, self._normal(b.action))

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, dtype=like.dtype, device=self.device, generator=self.generator)

    def _uniform(self, like: Tensor) -> Tensor:
        return torch.rand(like.shape, dtype=like.dtype, device=self.device, generator=self.generator)

    def _make_optimizers(self) -> dict[str, torch.optim.Adam]:
        trained: dict[str, tuple[nn.Module, ...]] = {
            "critic": (self.q, self.v),
            "denoiser": (self.denoiser,),
            "policy": (self.policy,),
        }
        if "fake" in self.networks:
            trained["fake"] = (self.fake,)
        if self.encoder is not None:
            trained["encoder"] = (self.encoder,)
        return {name: self._adam(*modules) for name, modules in trained.items()}

    def _adam(self, *modules: nn.Module) -> torch.optim.Adam:
        trained = [p for m in modules for p in m.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, lr=self.cfg.optim.lr, fused=True, capturable=self.device.type == "cuda")

    def _in_bf16(self, loss: Loss) -> Loss:
        """The loss with its matrix products in bfloat16; networks return float32."""

        def cast(*args: Any) -> tuple[Tensor, Losses]:
            with torch.autocast(self.device.type, torch.bfloat16):
                return loss(*args)

        return cast

    def _step(self, name: str, loss: Tensor, log: Losses) -> Losses:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()  # one number, or one for each of several policies (`training/ensemble.py`)
        optimizer.step()
        return {k: v.detach() for k, v in log.items()}

    def schedule(self) -> None:
        """Set what depends on the step: the learning rate, and the weight of the policy in its moving average."""
        o, updates = self.cfg.optim, self.step - self.cfg.optim.pretrain_steps
        factor = 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / self.cfg.steps))) if o.lr_decay else 1.0
        # The average forgets the initial weights: its decay is smaller in the first updates.
        decay = min(o.ema_decay, (1 + updates) / (10 + updates)) if updates >= 0 else 1.0
        if isinstance(self.lr, Tensor) and isinstance(self.ema_step, Tensor):
            self.lr.fill_(o.lr * factor)
            self.ema_step.fill_(1 - decay)
        else:
            self.lr, self.ema_step = o.lr * factor, 1 - decay
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.lr

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
            for group in optimizer.param_groups:
                group["capturable"] = self.device.type == "cuda"  # the saving device's, as loaded
        if state["generator"].numel() == self.generator.get_state().numel():
            self.generator.set_state(state["generator"].cpu())
        self.step = state["step"]


@torch.no_grad()
def polyak_(target: nn.Module, source: nn.Module, step: float | Tensor) -> None:
    """target <- (1 - step) * target + step * source, in place, in one fused call."""
    targets: list[Tensor] = list(target.parameters())
    sources: list[Tensor] = list(source.parameters())
    if isinstance(step, Tensor):
        torch._foreach_lerp_(targets, sources, [step] * len(targets))
    else:
        torch._foreach_lerp_(targets, sources, step)
