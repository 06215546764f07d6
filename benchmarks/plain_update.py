"""The baseline of update_speed.py: one DTQL iteration as an unhurried PyTorch script writes it.

Structured as the authors' public code is (arXiv 2405.19690), without its `env.reset()`: numpy indices, each network a
module of its own with its own Adam, nn.Mish, gradients of the policy's loss also into the critic's weights, target
networks moved parameter by parameter in Python, six `.item()` an iteration.  The mathematics are the product's with
`--preset paper` (tests/training/test_fast_paths.py compares them).
"""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name)
from torch import nn

from dtql_robot.config import Config
from dtql_robot.types import Array


def critic_net(inputs: int, hidden: tuple[int, ...], layer_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), *([nn.LayerNorm(width)] if layer_norm else []), nn.Mish()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


class TimeEmbedding(nn.Module):
    def forward(self, x):
        frequencies = torch.exp(-math.log(10_000) * torch.arange(8, device=x.device, dtype=x.dtype) / 7)
        angles = x[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class DenoiserNet(nn.Module):
    """One MLP over action, state and embedded noise level, with EDM's preconditioning around it."""

    def __init__(self, obs: int, action: int, width: int, layers: int, sigma_data: float):
        super().__init__()
        self.data = sigma_data
        self.time = nn.Sequential(TimeEmbedding(), nn.Linear(16, 32), nn.Mish(), nn.Linear(32, 16))
        hidden = [m for _ in range(layers) for m in (nn.Linear(width, width), nn.Mish())]
        self.net = nn.Sequential(nn.Linear(action + obs + 16, width), *hidden, nn.Linear(width, action))

    def forward(self, noisy, sigma, obs):
        sigma = sigma[:, None]
        c_skip = self.data**2 / (sigma**2 + self.data**2)
        c_out = sigma * self.data / (sigma**2 + self.data**2).sqrt()
        c_in = 1 / (sigma**2 + self.data**2).sqrt()
        time = self.time(sigma.log().flatten() / 4)
        out = self.net(torch.cat([c_in * noisy, obs, time], dim=-1))
        return (c_skip * noisy + c_out * out).clamp(-1, 1)


class Actor(nn.Module):
    def __init__(self, obs: int, action: int, hidden: tuple[int, ...], bounds: tuple[float, float]):
        super().__init__()
        self.bounds = bounds
        sizes = [obs, *hidden]
        layers = [m for pair in itertools.pairwise(sizes) for m in (nn.Linear(*pair), nn.ReLU())]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], 2 * action))

    def forward(self, obs):
        mean, log_std = self.net(obs).chunk(2, dim=-1)
        return mean, log_std.clamp(*self.bounds).exp()


class PlainDTQL:
    """Networks, optimizers and the iteration.  data: arrays obs (N, O), action (N, A), reward, discount, next_obs."""

    def __init__(self, cfg: Config, data: dict[str, Array], sigma_data: float, device: str = "cpu"):
        torch.manual_seed(cfg.seed)
        obs, action = data["obs"].shape[1], data["action"].shape[1]
        c, d, p = cfg.critic, cfg.diffusion, cfg.policy
        self.cfg, self.sigma_data, self.device = cfg, sigma_data, device
        self.data = {k: torch.as_tensor(v, device=device) for k, v in data.items()}
        self.rng = np.random.default_rng(cfg.seed)
        self.q1 = critic_net(obs + action, c.critic_hidden, layer_norm=True).to(device)
        self.q2 = critic_net(obs + action, c.critic_hidden, layer_norm=True).to(device)
        self.v = critic_net(obs, c.critic_hidden, c.v_layer_norm).to(device)
        self.denoiser = DenoiserNet(obs, action, d.denoiser_width, d.denoiser_blocks, sigma_data).to(device)
        self.actor = Actor(obs, action, p.policy_hidden, (p.log_std_min, p.log_std_max)).to(device)
        self.target_q1, self.target_q2 = copy.deepcopy(self.q1), copy.deepcopy(self.q2)
        self.ema_actor = copy.deepcopy(self.actor)
        lr, critic_lr = cfg.lr, cfg.optim.critic_lr or cfg.lr
        self.q_optimizer = torch.optim.Adam([*self.q1.parameters(), *self.q2.parameters()], lr=critic_lr)
        self.v_optimizer = torch.optim.Adam(self.v.parameters(), lr=critic_lr)
        self.denoiser_optimizer = torch.optim.Adam(self.denoiser.parameters(), lr=lr)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=lr)
        self.step = 0

    def sigma(self, low: float, high: float):
        """Log-logistic noise levels in [low, high]."""
        d = self.cfg.diffusion
        first, last = (1 / (1 + math.exp(-(math.log(s) - d.sigma_loc) / d.sigma_scale)) for s in (low, high))
        p = first + (last - first) * torch.rand(self.cfg.optim.batch_size, device=self.device)
        return torch.exp(d.sigma_loc + d.sigma_scale * torch.logit(p)).clamp(low, high)

    def diffusion_loss(self, action, obs, sigma, noise):
        denoised = self.denoiser(action + sigma[:, None] * noise, sigma, obs)
        weight = (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        return (weight * ((denoised - action) ** 2).mean(dim=-1)).mean()

    def sample(self):
        size = self.cfg.optim.batch_size
        index = torch.from_numpy(self.rng.integers(len(self.data["obs"]), size=size)).to(self.device)
        return {k: v[index] for k, v in self.data.items()}

    def draw(self, action):
        """The iteration's noise: of the denoiser's loss, of the policy's action, of the trust region."""
        d, p = self.cfg.diffusion, self.cfg.policy
        denoiser = self.sigma(d.sigma_min, d.sigma_max), torch.randn_like(action)
        policy = torch.randn_like(action)
        return denoiser, policy, (self.sigma(p.tr_sigma_min, p.tr_sigma_max), torch.randn_like(action))

    def update(self) -> dict[str, float]:
        b = self.sample()
        return self.iterate(b, *self.draw(b["action"]))

    def iterate(self, b, denoiser_noise, policy_noise, tr_noise) -> dict[str, float]:
        c, p = self.cfg.critic, self.cfg.policy
        obs, action, metrics = b["obs"], b["action"], {}
        pair = torch.cat([obs, action], dim=-1)

        # Q and V
        with torch.no_grad():
            best = torch.min(self.target_q1(pair), self.target_q2(pair)).flatten()
            target = b["reward"] + b["discount"] * self.v(b["next_obs"]).flatten()
        u = best - self.v(obs).flatten()
        v_loss = (torch.abs(c.expectile - (u < 0).to(u.dtype)) * u**2).mean()
        self.v_optimizer.zero_grad()
        v_loss.backward()
        self.v_optimizer.step()
        q_loss = F.mse_loss(self.q1(pair).flatten(), target) + F.mse_loss(self.q2(pair).flatten(), target)
        self.q_optimizer.zero_grad()
        q_loss.backward()
        self.q_optimizer.step()
        metrics["v_loss"], metrics["q_loss"] = v_loss.item(), q_loss.item()

        # behaviour cloning by diffusion
        bc_loss = self.diffusion_loss(action, obs, *denoiser_noise)
        self.denoiser_optimizer.zero_grad()
        bc_loss.backward()
        self.denoiser_optimizer.step()
        metrics["denoiser_loss"] = bc_loss.item()

        # one-step policy
        mean, std = self.actor(obs)
        chosen = torch.tanh(mean + std * policy_noise)
        for parameter in self.denoiser.parameters():
            parameter.requires_grad_(False)
        trust = self.diffusion_loss(chosen, obs, *tr_noise)
        pair = torch.cat([obs, chosen], dim=-1)
        q = torch.min(self.q1(pair), self.q2(pair)).mean()
        policy_loss = p.trust_region_weight * trust - p.weight_of_q * q
        self.actor_optimizer.zero_grad()
        policy_loss.backward()
        self.actor_optimizer.step()
        for parameter in self.denoiser.parameters():
            parameter.requires_grad_(True)
        metrics["trust_region"], metrics["policy_q"] = trust.item(), q.item()
        metrics["policy_loss"] = policy_loss.item()

        # averages
        decay = min(self.cfg.optim.ema_decay, (1 + self.step) / (10 + self.step))
        for average, source, rate in (
            (self.target_q1, self.q1, c.tau),
            (self.target_q2, self.q2, c.tau),
            (self.ema_actor, self.actor, 1 - decay),
        ):
            for a, s in zip(average.parameters(), source.parameters(), strict=True):
                a.data.copy_(rate * s.data + (1 - rate) * a.data)
        self.step += 1
        return metrics
