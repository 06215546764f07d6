"""What acting in one step saves: `python benchmarks/denoising_steps.py [--threads 1] [--rounds 20] [--json out.json]`.

The paper's networks and sizes (observation 39, action 28, single actions, batches of 256).  In one process, in turn:

  decision   one observation to one action: the one-step policy, or the denoiser sampled in K steps
  update     one step of the policy's loss, forward and backward: DTQL's (trust region and Q at the policy's action), or
             that of a policy which is the denoiser sampled in K steps, with Q's gradient through all of them, as in
             Diffusion Q-learning

A step is Euler's, one evaluation of the denoiser.  Critics and denoiser are trained alike in both and left out.  Shown:
milliseconds, median over rounds with the quartiles.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from update_speed import ACTION, CLOCKS, OBS, machine, make_buffer, measure, paper, random_data, summary

from dtql_robot.algorithm.agent import DTQL, frozen
from dtql_robot.algorithm.diffusion import karras_sigmas

STEPS = (1, 2, 5, 10, 20, 50)


def sample(agent: DTQL, obs: Tensor, steps: int) -> Tensor:
    """The denoiser, sampled in so many steps.  obs: (B, O).  Returns (B, 1, A)."""
    sigmas = karras_sigmas(steps, agent.cfg.diffusion.sigma_min, agent.cfg.diffusion.sigma_max)
    x = torch.randn(len(obs), 1, ACTION) * sigmas[0]
    for now, after in itertools.pairwise(sigmas):
        x = x + (after - now) * (x - agent.denoiser(x, now.expand(len(x)), obs)) / now
    return x


def decisions(agent: DTQL, obs: Tensor) -> dict[str, Callable[[], Any]]:
    """Name -> one decision."""

    @torch.no_grad()
    def one_step() -> Tensor:
        return agent.policy(obs, torch.zeros(1, 1, ACTION))

    def denoised(steps: int) -> Callable[[], Any]:
        return torch.no_grad()(lambda: sample(agent, obs, steps))

    return {"one step": one_step, **{f"{k} denoising steps": denoised(k) for k in STEPS}}


def updates(agent: DTQL) -> dict[str, Callable[[], Any]]:
    """Name -> forward and backward of the policy's loss on a batch of its own."""
    buffer, size = make_buffer(random_data(np.random.default_rng(0)), "cpu"), agent.cfg.optim.batch_size
    p = agent.cfg.policy
    spread = torch.ones(())

    def dtql() -> None:
        batch = buffer.sample(size, agent.generator)
        noise = agent._noise(batch, p.tr_sigma_min, p.tr_sigma_max, policy=True)
        with frozen(agent.denoiser, agent.q):
            agent.policy_loss(batch, spread, noise)[0].backward()

    def through(steps: int) -> Callable[[], Any]:
        def update() -> None:
            obs = buffer.sample(size, agent.generator).obs
            with frozen(agent.q):
                (-agent.q(obs, sample(agent, obs, steps)).min(dim=0).values.mean()).backward()

        return update

    return {"one step": dtql, **{f"{k} denoising steps": through(k) for k in STEPS}}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    agent = DTQL(paper(), OBS, ACTION, 0.5, torch.device("cpu"))
    found: dict[str, Any] = {**machine("cpu"), "clock": options.clock, "rounds": options.rounds}
    for what, variants in {"decision": decisions(agent, torch.randn(1, OBS)), "update": updates(agent)}.items():
        seconds, first = measure(variants, options.rounds, 3, CLOCKS[options.clock], lambda: None)
        found[what] = rows = summary(seconds, first, "one step")
        print(f"{what:<22}{'ms':>9}{'quartiles':>20}{'x one step':>12}")
        for name, row in rows.items():
            quartiles = f"{row['ms_q25']:.3f} to {row['ms_q75']:.3f}"
            print(f"{name:<22}{row['ms']:>9.3f}{quartiles:>20}{1 / row['times_faster']:>12.1f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
