"""One run of Algorithm 1 as the paper's tables set it, from the equations alone.

Written from arXiv 2405.19690 (Eqs. 2, 4 to 7, Algorithm 1, section 3) and Karras et al. 2022 (the preconditioning), the
numbers of the paper's tables put in by hand: nothing here reads the package's settings or imports any of its code.
Networks are lists of layers with weights (in, out); Adam is spelled out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Layer = dict[str, Tensor]
Network = list[Layer]


@dataclass(frozen=True)
class Numbers:
    """A row of the tables.  lr is that of policy and denoiser; the critics have 3e-4."""

    lr: float
    alpha: float
    gamma: float
    decay: bool
    updates: int
    expectile: float
    kl: bool = False


PRETRAINING = 50_000
CRITIC_LR = 3e-4
RHO = 0.005
DISCOUNT = 0.99
SIGMA_DATA, SIGMA_MIN, SIGMA_MAX = 0.5, 0.002, 80.0
GENERATION_SIGMA = 2.5


def mish(x: Tensor) -> Tensor:
    softplus = torch.log1p(torch.exp(-x.abs())) + x.clamp(min=0)
    return x * torch.tanh(softplus)


def relu(x: Tensor) -> Tensor:
    return x * (x > 0)


def normalized(x: Tensor, layer: Layer) -> Tensor:
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * layer["gain"] + layer["shift"]


def perceptron(network: Network, x: Tensor, activation) -> Tensor:
    *hidden, last = network
    for layer in hidden:
        x = x @ layer["weight"] + layer["bias"]
        x = activation(normalized(x, layer) if "gain" in layer else x)
    return x @ last["weight"] + last["bias"]


def denoised(net: Network, noisy: Tensor, sigma: Tensor, obs: Tensor, clamped: bool = True) -> Tensor:
    """mu_phi: EDM's preconditioning around [linear 16-32, Mish, linear 32-16] of the noise level and an MLP whose first
    layer is linear."""
    s = sigma[:, None]
    frequencies = torch.exp(-torch.arange(8, dtype=noisy.dtype) * math.log(10_000) / 7)
    angles = torch.log(s) / 4 * frequencies
    level = mish(torch.cat([angles.sin(), angles.cos()], dim=1) @ net[0]["weight"] + net[0]["bias"])
    level = level @ net[1]["weight"] + net[1]["bias"]
    total = torch.sqrt(s**2 + SIGMA_DATA**2)
    x = torch.cat([noisy / total, obs, level], dim=1) @ net[2]["weight"] + net[2]["bias"]
    out = perceptron(net[3:], x, mish)
    result = SIGMA_DATA**2 / total**2 * noisy + s * SIGMA_DATA / total * out
    return result.clamp(-1, 1) if clamped else result


def level_of(u: Tensor) -> Tensor:
    """log sigma is logistic around log 0.5 with scale 0.5, cut to [log 0.002, log 80]."""
    ends = [1 / (1 + math.exp(-(math.log(s) - math.log(0.5)) / 0.5)) for s in (SIGMA_MIN, SIGMA_MAX)]
    p = ends[0] + u * (ends[1] - ends[0])
    return torch.exp(math.log(0.5) + 0.5 * (torch.log(p) - torch.log(1 - p)))


def denoising_loss(net: Network, action: Tensor, obs: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    s = sigma[:, None]
    c_out = s * SIGMA_DATA / torch.sqrt(s**2 + SIGMA_DATA**2)
    return (((denoised(net, action + s * noise, sigma, obs) - action) / c_out) ** 2).mean()


class Adam:
    """Kingma and Ba, with their defaults."""

    def __init__(self) -> None:
        self.t, self.moments = 0, {}

    def step(self, loss: Tensor, networks: list[Network], lr: float) -> None:
        tensors = [(layer, name) for network in networks for layer in network for name in layer]
        gradients = torch.autograd.grad(loss, [layer[name] for layer, name in tensors], allow_unused=True)
        self.t += 1
        for i, ((layer, name), g) in enumerate(zip(tensors, gradients, strict=True)):
            g = torch.zeros_like(layer[name]) if g is None else g
            m, v = self.moments.get(i, (torch.zeros_like(g), torch.zeros_like(g)))
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            self.moments[i] = m, v
            rate = lr * (m / (1 - 0.9**self.t)) / (torch.sqrt(v / (1 - 0.999**self.t)) + 1e-8)
            layer[name] = (layer[name] - rate).detach().requires_grad_()


def copied(network: Network) -> Network:
    return [{name: value.detach().clone().requires_grad_() for name, value in layer.items()} for layer in network]


class Oracle:
    """networks: q1, q2, v, denoiser, policy (the fake denoiser starts with the policy).  draws: next random tensor."""

    def __init__(self, numbers: Numbers, networks: dict[str, Network], step: int) -> None:
        self.n, self.step = numbers, step
        self.net = {name: copied(network) for name, network in networks.items()}
        self.net |= {f"target_{q}": copied(networks[q]) for q in ("q1", "q2")}
        self.critic, self.diffusion, self.actor, self.faker = Adam(), Adam(), Adam(), Adam()
        self.losses: dict[str, float] = {}

    def q_min(self, obs: Tensor, action: Tensor, names: tuple[str, str] = ("q1", "q2")) -> Tensor:
        pair = torch.cat([obs, action], dim=1)
        return torch.minimum(*(perceptron(self.net[name], pair, mish)[:, 0] for name in names))

    def v(self, obs: Tensor) -> Tensor:
        return perceptron(self.net["v"], obs, mish)[:, 0]

    def iterate(self, obs, action, reward, next_obs, draw) -> None:
        n, done = self.n, max(0, self.step - PRETRAINING) / self.n.updates
        factor = 0.5 * (1 + math.cos(math.pi * done)) if n.decay else 1.0
        if n.kl and self.step == PRETRAINING:
            self.net["policy"], self.net["fake"] = copied(self.net["denoiser"]), copied(self.net["denoiser"])

        # Eqs. 6 and 7, from the weights before the step
        with torch.no_grad():
            best = self.q_min(obs, action, ("target_q1", "target_q2"))
            target = reward + DISCOUNT * self.v(next_obs)
        u = best - self.v(obs)
        v_loss = (torch.where(u < 0, 1 - n.expectile, n.expectile) * u**2).mean()
        pair = torch.cat([obs, action], dim=1)
        q_loss = sum(((perceptron(self.net[q], pair, mish)[:, 0] - target) ** 2).mean() for q in ("q1", "q2"))
        self.critic.step(v_loss + q_loss, [self.net[k] for k in ("q1", "q2", "v")], CRITIC_LR * factor)

        # Eq. 2
        sigma, noise = level_of(draw()), draw()
        loss = denoising_loss(self.net["denoiser"], action, obs, sigma, noise)
        self.diffusion.step(loss, [self.net["denoiser"]], n.lr * factor)
        self.losses = {"v_loss": v_loss.item(), "q_loss": q_loss.item(), "denoiser_loss": loss.item()}

        if self.step >= PRETRAINING:
            self.policy_step(obs, action, draw, n.lr * factor)
        for q in ("q1", "q2"):
            for old, new in zip(self.net[f"target_{q}"], self.net[q], strict=True):
                for name in old:
                    old[name] = ((1 - RHO) * old[name] + RHO * new[name]).detach()
        self.step += 1

    def policy_step(self, obs, action, draw, lr: float) -> None:
        n = self.n
        if n.kl:  # section 3: the fake denoiser learns the policy's actions, then the policy takes a step
            start, sigma, noise = draw(), level_of(draw()), draw()
            with torch.no_grad():
                own = self.generated(obs, start).clamp(-1, 1)
            loss = denoising_loss(self.net["fake"], own, obs, sigma, noise)
            self.faker.step(loss, [self.net["fake"]], lr)
            self.losses["fake_loss"] = loss.item()
        start, sigma, noise = draw(), level_of(draw()), draw()
        if n.kl:
            own = self.generated(obs, start)
            with torch.no_grad():
                noisy = own + sigma[:, None] * noise
                real, fake = (denoised(self.net[k], noisy, sigma, obs) for k in ("denoiser", "fake"))
                towards = own - (fake - real) / (own - real).abs().mean(dim=1, keepdim=True)
            regularizer = 0.5 * ((own - towards) ** 2).mean()
        else:
            mean, log_std = perceptron(self.net["policy"], obs, relu).chunk(2, dim=1)
            std = torch.exp(log_std.clamp(-5, 2))
            own = torch.tanh(mean + std * start)
            regularizer = denoising_loss(self.net["denoiser"], own, obs, sigma, noise)
        loss = n.alpha * regularizer - self.q_min(obs, own).mean()
        if n.gamma:
            z = (torch.atanh(action / 1.001) - mean) / std
            log_density = (-0.5 * z**2 - torch.log(std) - 0.5 * math.log(2 * math.pi)).sum(dim=1)
            loss = loss - n.gamma * log_density.mean()
        self.actor.step(loss, [self.net["policy"]], lr)
        self.losses |= {"regularizer": regularizer.item(), "policy_loss": loss.item()}

    def generated(self, obs: Tensor, noise: Tensor) -> Tensor:
        level = torch.full((len(obs),), GENERATION_SIGMA, dtype=obs.dtype)
        return denoised(self.net["policy"], GENERATION_SIGMA * noise, level, obs, clamped=False)
