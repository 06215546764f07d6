"""Diffusion Trusted Q-Learning: Algorithm 1 of the paper, and the agent that it trains."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dtql_robot.algorithm.diffusion import sample_sigma
from dtql_robot.algorithm.model import Networks, make_networks
from dtql_robot.algorithm.objectives import Loss, Losses, Noise, Objectives
from dtql_robot.algorithm.streams import InTurn
from dtql_robot.config import Config
from dtql_robot.types import Batch, PixelBatch, halves


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


def lr_factor(cfg: Config, step: int) -> float:
    """What the learning rates are multiplied by in update `step`: after pretraining a cosine from 1 to 0, or 1."""
    done = min(1.0, max(0, step - cfg.optim.pretrain_steps) / cfg.steps)
    return 0.5 * (1 + math.cos(math.pi * done)) if cfg.optim.lr_decay else 1.0


class Algorithm1(Objectives, ABC):
    """Algorithm 1 over a set of networks: their losses, optimizers, schedule and averages.

    The networks are those of one agent (`DTQL`) or of several, stacked (`training.ensemble.Ensemble`); a subclass says
    where the random numbers come from.
    """

    def __init__(
        self,
        cfg: Config,
        networks: Networks,
        device: torch.device,
        transform: Callable[[Loss], Loss] | None = None,
    ) -> None:
        """transform: replaces each loss, for instance by its like for several agents."""
        super().__init__(cfg, networks, device)
        self.step = 0
        self.side = InTurn()
        """Where the critics learn while the denoiser does."""
        self.optimizers = self._make_optimizers()
        self.lr: float | Tensor = cfg.lr
        self.denoiser_lr: float | Tensor = cfg.lr * cfg.optim.denoiser_lr_scale
        self.critic_lr: float | Tensor = cfg.optim.critic_lr or cfg.lr
        self.ema_step: float | Tensor = 1.0
        self.losses: dict[str, Loss] = self.objectives()
        """The losses as they are computed: maybe batched over agents, in reduced precision, compiled."""
        if transform is not None:
            self._transform_losses(transform)
        if cfg.optim.precision == "bf16":
            self._transform_losses(self._in_bf16)

    @property
    @abstractmethod
    def generators(self) -> list[torch.Generator]:
        """Every source of random numbers of an update."""

    @abstractmethod
    def _normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of `like`'s shape."""

    @abstractmethod
    def _uniform(self, like: Tensor) -> Tensor:
        """Numbers in [0, 1) of `like`'s shape."""

    def _transform_losses(self, transform: Callable[[Loss], Loss]) -> None:
        self.losses = {name: transform(loss) for name, loss in self.losses.items()}

    def compile_losses(self) -> None:
        """Compile the losses and their gradients.  One to three minutes at the first update, seconds once torch has
        them in its cache."""
        self._transform_losses(lambda loss: torch.compile(loss, dynamic=False))

    def schedule_on_device(self) -> None:
        """Keep what depends on the step in tensors on the device, where a CUDA graph reads it."""
        for name in ("lr", "denoiser_lr", "critic_lr", "ema_step"):
            setattr(self, name, torch.zeros((), device=self.device))

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
        whole = b
        experience, b = halves(whole) if self.cfg.draws_behaviour else (whole, whole)
        side = self.side if features is None else InTurn()  # features gather the gradients of all losses
        with side:
            if p.uses_critic:
                log |= self._step("critic", experience)
        if p.uses_denoiser:
            log |= self._step("denoiser", b, self._noise(b, d.sigma_min, d.sigma_max))
        side.join()
        if self.step >= self.cfg.optim.pretrain_steps:
            if p.regularizer == "kl":
                log |= self._step("fake", b, self._noise(b, d.sigma_min, d.sigma_max, policy=True))
            noise = self._noise(b, p.tr_sigma_min, p.tr_sigma_max, policy=True)
            if self.cfg.regularizes_all:
                b, noise = whole, self._noise(experience, p.tr_sigma_min, p.tr_sigma_max, policy=True).then(noise)
            with frozen(self.denoiser, self.q):
                log |= self._step("policy", b, log["q_spread"], noise)
            polyak_(self.ema_policy, self.policy, self.ema_step)
        if features is not None:
            self._step_encoder(features, whole.obs.grad)
        polyak_(self.target_q, self.q, self.cfg.critic.tau)
        return log

    def _step(self, name: str, *args: Any) -> Losses:
        """One step of the networks that optimizer `name` trains, along the gradient of their loss."""
        loss, log = self.losses[name](*args)
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()  # one number, or one for each of several policies (`training/ensemble.py`)
        self.peers.average_gradients(optimizer)
        optimizer.step()
        return {k: v.detach() for k, v in log.items()}

    def schedule(self) -> None:
        """Set what depends on the step: the learning rates, the weight of the policy in its moving average, and where
        the policy starts."""
        o, updates = self.cfg.optim, self.step - self.cfg.optim.pretrain_steps
        if updates == 0 and self.cfg.policy.policy == "denoiser":
            self._start_at_denoiser()
        factor = lr_factor(self.cfg, self.step)
        # The average forgets the initial weights: its decay is smaller in the first updates.
        decay = min(o.ema_decay, (1 + updates) / (10 + updates)) if updates >= 0 else 1.0
        lr = self.cfg.lr
        now = {"lr": lr * factor, "denoiser_lr": lr * o.denoiser_lr_scale * factor, "ema_step": 1 - decay}
        now["critic_lr"] = (o.critic_lr or lr) * factor
        for name, value in now.items():
            held = getattr(self, name)
            if isinstance(held, Tensor):
                held.fill_(value)
            else:
                setattr(self, name, value)
        rates = {"denoiser": self.denoiser_lr, "fake": self.denoiser_lr, "critic": self.critic_lr}
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rates.get(name, self.lr)

    def _start_at_denoiser(self) -> None:
        """Policy and second denoiser begin as the pretrained denoiser (section 3 of the paper)."""
        for policy in (self.policy, self.ema_policy):
            polyak_(policy, self.denoiser, 1.0)
        if self.fake is not None:
            polyak_(self.fake, self.denoiser, 1.0)

    def _encode(self, b: PixelBatch) -> tuple[Batch, Tensor]:
        """Augment and encode once for all networks, see `Encoders.encode_batch`."""
        assert self.encoder is not None
        (generator,) = self.generators
        return self.encoder.encode_batch(b._replace(low=self._with_noise(b.low)), generator, self.peers)

    def _step_encoder(self, features: Tensor, grad: Tensor | None) -> None:
        """One step of the encoder along the gradients that the losses left at its features."""
        assert self.encoder is not None
        assert self.ema_encoder is not None
        if grad is not None and features.requires_grad:
            self.optimizers["encoder"].zero_grad(set_to_none=True)
            features.backward(grad)
            self.peers.average_gradients(self.optimizers["encoder"])
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

    def _make_optimizers(self) -> dict[str, torch.optim.Adam]:
        trained: dict[str, tuple[nn.Module, ...]] = {
            "critic": (self.q, self.v),
            "denoiser": (self.denoiser,),
            "policy": (self.policy,),
        }
        if self.fake is not None:
            trained["fake"] = (self.fake,)
        if self.encoder is not None:
            trained["encoder"] = (self.encoder,)
        return {name: self._adam(*modules) for name, modules in trained.items()}

    def _adam(self, *modules: nn.Module) -> torch.optim.Adam:
        trained = [p for m in modules for p in m.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, lr=self.cfg.lr, fused=True, capturable=self.device.type == "cuda")

    def _in_bf16(self, loss: Loss) -> Loss:
        """The loss with its matrix products in bfloat16; networks return float32."""

        def cast(*args: Any) -> tuple[Tensor, Losses]:
            with torch.autocast(self.device.type, torch.bfloat16):
                return loss(*args)

        return cast


class DTQL(Algorithm1):
    """Denoiser, one-step policy and IQL critics with their optimizers.

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
    ) -> None:
        """obs_dim: O, low-dimensional entries.  action_dim: A.  sigma_data: standard deviation of the normalized
        actions.  image_shapes: key -> (height, width, channels) of image observations; their features then join the O
        entries."""
        super().__init__(cfg, make_networks(cfg, obs_dim, action_dim, sigma_data, device, image_shapes), device)
        self.generator = torch.Generator(device).manual_seed(cfg.seed)

    @property
    def generators(self) -> list[torch.Generator]:
        """The agent's one source of random numbers."""
        return [self.generator]

    def _normal(self, like: Tensor) -> Tensor:
        return self._draw(torch.randn, like)

    def _uniform(self, like: Tensor) -> Tensor:
        return self._draw(torch.rand, like)

    def _draw(self, numbers: Callable[..., Tensor], like: Tensor) -> Tensor:
        make = functools.partial(numbers, dtype=like.dtype, device=self.device, generator=self.generator)
        return self.peers.draw(make, like.shape)

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
        self.load_networks(state["networks"])
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
