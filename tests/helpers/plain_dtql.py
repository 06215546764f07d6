"""Algorithm 1 of the paper written out line by line, for the test that compares the product with it.

Nothing here comes from the package: networks are functions of a dictionary of weights, each Q is computed on its
own, gradients are asked for by name, and Adam is spelled out.  Slow and obvious on purpose.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name)


def layers(w, x, prefix, count, norm=False, act=torch.relu):
    """Linear, [LayerNorm], activation, `count` times, then Linear; modules numbered as in a Sequential."""
    step = 3 if norm else 2
    for i in range(count):
        x = x @ w[f"{prefix}.{step * i}.weight"].T + w[f"{prefix}.{step * i}.bias"]
        if norm:
            gain, bias = w[f"{prefix}.{step * i + 1}.weight"], w[f"{prefix}.{step * i + 1}.bias"]
            x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5)
            x = x * gain + bias
        x = act(x)
    return x @ w[f"{prefix}.{step * count}.weight"].T + w[f"{prefix}.{step * count}.bias"]


def one_q(w, which, obs, action, count):
    """Q1 (which=0) or Q2 (which=1)."""
    x = torch.cat([obs, action.reshape(len(action), -1)], -1)
    for i in range(count):
        x = x @ w[f"net.{3 * i}.weight"][which] + w[f"net.{3 * i}.bias"][which]
        x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5)
        x = torch.relu(x * w[f"net.{3 * i + 1}.weight"] + w[f"net.{3 * i + 1}.bias"])
    return (x @ w[f"net.{3 * count}.weight"][which] + w[f"net.{3 * count}.bias"][which])[:, 0]


def denoise(w, noisy, sigma, obs, data, blocks):
    """EDM's preconditioned denoiser, clamped to the action range."""
    s = sigma[:, None, None]
    x = (noisy / torch.sqrt(s**2 + data**2)).reshape(len(noisy), -1)
    angles = (torch.log(sigma) / 4)[:, None] * 10_000 ** -(torch.arange(8, dtype=torch.float64) / 7)
    embedding = torch.cat([torch.sin(angles), torch.cos(angles)], -1)
    level = torch.relu(embedding @ w["net.embed.1.weight"].T + w["net.embed.1.bias"])
    state = torch.relu(obs @ w["net.encode.0.weight"].T + w["net.encode.0.bias"])
    state = torch.relu(state @ w["net.encode.2.weight"].T + w["net.encode.2.bias"])
    h = torch.cat([x, level], -1) @ w["net.enter.weight"].T + w["net.enter.bias"]
    for i in range(blocks):
        normed = F.layer_norm(h, h.shape[-1:], w[f"net.norms.{i}.weight"], w[f"net.norms.{i}.bias"])
        up = torch.cat([normed, state], -1) @ w[f"net.ups.{i}.weight"].T + w[f"net.ups.{i}.bias"]
        h = h + torch.relu(up) @ w[f"net.downs.{i}.weight"].T + w[f"net.downs.{i}.bias"]
    out = torch.relu(h) @ w["net.leave.weight"].T + w["net.leave.bias"]
    gate = level @ w["net.gate.weight"].T + w["net.gate.bias"]
    out = (out + gate * (state @ w["net.regress.weight"].T + w["net.regress.bias"])).reshape(noisy.shape)
    skip, scale = data**2 / (s**2 + data**2), s * data / torch.sqrt(s**2 + data**2)
    return torch.clamp(skip * noisy + scale * out, -1, 1)


class Adam:
    """Kingma & Ba, algorithm 1."""

    def __init__(self, names):
        self.m, self.v, self.t = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0), 0

    def step(self, weights, grads, lr):
        self.t += 1
        for name, g in grads.items():
            self.m[name] = 0.9 * self.m[name] + 0.1 * g
            self.v[name] = 0.999 * self.v[name] + 0.001 * g**2
            m, v = self.m[name] / (1 - 0.9**self.t), self.v[name] / (1 - 0.999**self.t)
            weights[name] = weights[name] - lr * m / (torch.sqrt(v) + 1e-8)


class PlainDTQL:
    """Weights and optimizers of the five networks, and one iteration of Algorithm 1."""

    def __init__(self, weights, cfg, sigma_data, generator):
        self.w = {k: {n: t.clone() for n, t in v.items()} for k, v in weights.items()}
        self.cfg, self.data, self.g, self.k = cfg, sigma_data, generator, 0
        self.adam = {k: Adam(self.w[k]) for k in ("q", "v", "denoiser", "policy")}

    def gradients(self, network, loss_of):
        leaves = {n: t.detach().requires_grad_() for n, t in self.w[network].items()}
        grads = torch.autograd.grad(loss_of(leaves), list(leaves.values()))
        return dict(zip(leaves, grads, strict=True))

    def draw_sigma(self, count, low, high):
        d = self.cfg.diffusion
        u = torch.rand(count, dtype=torch.float64, generator=self.g)
        first, last = (1 / (1 + math.exp(-(math.log(s) - d.sigma_loc) / d.sigma_scale)) for s in (low, high))
        p = first + u * (last - first)
        return torch.exp(d.sigma_loc + d.sigma_scale * torch.log(p / (1 - p)))

    def denoising(self, w, action, obs, sigma, noise, valid):
        error = (denoise(w, action + sigma[:, None, None] * noise, sigma, obs, self.data, 1) - action) ** 2
        weight = 1 / sigma**2 + 1 / self.data**2
        return (weight[:, None, None] * error * valid[:, :, None]).mean()

    def iterate(self, b):
        c, p = self.cfg.critic, self.cfg.policy
        factor = 0.5 * (1 + math.cos(math.pi * self.k / self.cfg.steps))
        lr, critic_lr = self.cfg.lr * factor, self.cfg.optim.critic_lr * factor
        v_of = lambda w, obs: layers(w, obs, "net", 2, norm=True)[:, 0]  # noqa: E731
        q_min = lambda w, obs, a: torch.minimum(one_q(w, 0, obs, a, 2), one_q(w, 1, obs, a, 2))  # noqa: E731

        # 1. Q-value function learning: Eqs. 6 and 7.
        target = b.reward + b.discount * v_of(self.w["v"], b.next_obs)
        best = q_min(self.w["target_q"], b.obs, b.action)

        def v_loss(w):
            u = best - v_of(w, b.obs)
            return (torch.abs(c.expectile - (u < 0).double()) * u**2).mean()

        def q_loss(w):
            errors = [(target - one_q(w, i, b.obs, b.action, 2)) ** 2 for i in (0, 1)]
            return ((errors[0] + errors[1]) * b.td_valid).sum() / b.td_valid.sum()

        spread = q_min(self.w["q"], b.obs, b.action).std()
        v_grads, q_grads = self.gradients("v", v_loss), self.gradients("q", q_loss)
        self.adam["v"].step(self.w["v"], v_grads, critic_lr)
        self.adam["q"].step(self.w["q"], q_grads, critic_lr)

        # 2. Diffusion policy learning: Eq. 2.
        sigma = self.draw_sigma(len(b.obs), self.cfg.diffusion.sigma_min, self.cfg.diffusion.sigma_max)
        noise = torch.randn(b.action.shape, dtype=torch.float64, generator=self.g)
        grads = self.gradients("denoiser", lambda w: self.denoising(w, b.action, b.obs, sigma, noise, b.valid))
        self.adam["denoiser"].step(self.w["denoiser"], grads, lr)

        # 3. Diffusion trust region policy learning: Eq. 5 with the entropy term.
        policy_noise = torch.randn(b.action.shape, dtype=torch.float64, generator=self.g)
        tr_sigma = self.draw_sigma(len(b.obs), p.tr_sigma_min, p.tr_sigma_max)
        tr_noise = torch.randn(b.action.shape, dtype=torch.float64, generator=self.g)

        def policy_loss(w):
            mean, log_std = layers(w, b.obs, "net", 2).chunk(2, -1)
            mean, log_std = mean.reshape(b.action.shape), log_std.clamp(p.log_std_min, p.log_std_max)
            std = torch.exp(log_std).reshape(b.action.shape)
            action = torch.tanh(mean + std * policy_noise)
            trust = self.denoising(self.w["denoiser"], action, b.obs, tr_sigma, tr_noise, b.valid)
            raw = torch.atanh(b.action / 1.001)
            log_p = -0.5 * ((raw - mean) / std) ** 2 - torch.log(std) - 0.5 * math.log(2 * math.pi)
            likelihood = (log_p * b.valid[:, :, None]).mean()
            q = q_min(self.w["q"], b.obs, action).mean() / spread
            return p.trust_region_weight * trust - p.weight_of_q * q - p.nll_weight * likelihood

        self.adam["policy"].step(self.w["policy"], self.gradients("policy", policy_loss), lr)

        # 4. Target networks, and the moving average that acts.
        for target_name, source, rho in (
            ("target_q", "q", 1 - c.tau),
            ("ema_policy", "policy", min(self.cfg.optim.ema_decay, (1 + self.k) / (10 + self.k))),
        ):
            for n, t in self.w[source].items():
                self.w[target_name][n] = rho * self.w[target_name][n] + (1 - rho) * t
        self.k += 1
