"""How fast two denoiser networks learn: the product's against the plain MLP of the paper's code.

Prints the denoising error at several noise levels, on the training episodes and on four held-out ones, and that of
plain regression of the same chunks on the state, which is what a denoiser should reach where noise hides the action.

    python benchmarks/denoiser_network.py --data door-v0_demos_clipped.hdf5
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time

import torch
from torch import Tensor, nn

from dtql_robot.algorithm.denoiser_networks import DenoiserNet, SinusoidalEmbedding
from dtql_robot.algorithm.diffusion import Denoiser, sample_sigma
from dtql_robot.algorithm.losses import chunk_mean, denoising_loss
from dtql_robot.algorithm.networks import mlp
from dtql_robot.config import Config
from dtql_robot.datasets import load
from dtql_robot.training.buffer import ChunkBuffer, make_buffer
from dtql_robot.training.prepare import prepare

LEVELS = (0.1, 0.25, 0.5, 1.0, 3.0, 20.0)
HELD_OUT = 4


class PlainNet(nn.Module):
    """One MLP over [chunk, obs, embedding], four hidden layers of 256."""

    def __init__(self, obs_dim: int, chunk: tuple[int, int]):
        super().__init__()
        self.chunk = chunk
        size = math.prod(chunk)
        self.embed = nn.Sequential(SinusoidalEmbedding(16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
        self.net = mlp(size + obs_dim + 16, (256,) * 4, size, "relu")

    def forward(self, x: Tensor, c_noise: Tensor, obs: Tensor) -> Tensor:
        return self.net(torch.cat([x.flatten(1), obs, self.embed(c_noise)], dim=-1)).unflatten(1, self.chunk)


def fit(module: nn.Module, loss_of, buffer: ChunkBuffer, steps: int, lr: float) -> None:
    """Adam with cosine decay, as in training."""
    optimizer = torch.optim.Adam(module.parameters(), lr=lr, fused=True)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = loss_of(buffer.sample(256, generator), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def errors(denoiser: Denoiser, buffer: ChunkBuffer) -> list[float]:
    """Mean squared denoising error at LEVELS over all chunks."""
    b = buffer.batch(torch.arange(len(buffer)))
    noise = torch.randn(b.action.shape, generator=torch.Generator().manual_seed(1))
    levels = [torch.full((len(b.obs),), s) for s in LEVELS]
    return [
        chunk_mean((denoiser(b.action + s[:, None, None] * noise, s, b.obs) - b.action) ** 2, b.valid).mean().item()
        for s in levels
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--lr", type=float, default=3e-4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    demos = load(args.data)
    seen = dataclasses.replace(demos, episodes=demos.episodes[:-HELD_OUT])
    unseen = dataclasses.replace(demos, episodes=demos.episodes[-HELD_OUT:])
    cfg, face, train, _ = prepare(seen, Config(), torch.device("cpu"))
    norms = (face.obs_norm, face.action_norm)
    held = make_buffer(unseen, cfg.data, cfg.critic.discount, face.obs_keys, *norms, torch.device("cpu"))
    chunk, d = (cfg.data.horizon, face.action_dim), cfg.diffusion

    def denoise(denoiser, b, g):
        u = torch.rand(len(b.obs), generator=g)
        sigma = sample_sigma(u, d.sigma_density, d.sigma_loc, d.sigma_scale, d.sigma_min, d.sigma_max)
        noise = torch.randn(b.action.shape, generator=g)
        return denoising_loss(denoiser, b.action, b.obs, sigma, noise, b.valid).mean()

    nets = {
        "plain MLP": PlainNet,
        "product": lambda o, c: DenoiserNet(o, c, d.denoiser_width, d.denoiser_blocks, "relu"),
    }
    print(f"{'':22}{'seconds':>8}" + "".join(f"{f'sigma {s:g}':>12}" for s in LEVELS))
    for name, make in nets.items():
        torch.manual_seed(0)
        denoiser = Denoiser(make(face.obs_dim, chunk), face.sigma_data)
        start = time.perf_counter()
        fit(denoiser, lambda b, g, den=denoiser: denoise(den, b, g), train, args.steps, args.lr)
        seconds = time.perf_counter() - start
        for part, buffer in (("seen", train), ("held out", held)):
            print(f"{name:12}{part:10}{seconds:8.0f}" + "".join(f"{e:12.4f}" for e in errors(denoiser, buffer)))
    torch.manual_seed(0)
    regression = mlp(face.obs_dim, (256,) * 3, math.prod(chunk), "relu")

    def squared(b):
        return chunk_mean((regression(b.obs).unflatten(1, chunk) - b.action) ** 2, b.valid).mean()

    fit(regression, lambda b, g: squared(b), train, args.steps, args.lr)
    with torch.no_grad():
        for part, buffer in (("seen", train), ("held out", held)):
            print(f"{'regression':12}{part:10}{'':8}{squared(buffer.batch(torch.arange(len(buffer)))).item():12.4f}")


if __name__ == "__main__":
    main()
