"""What does the critic know?  `python benchmarks/critic_held_out.py --data mixed.hdf5 [--steps 3000] [--json F]`

Trains the default recipe on part of a file whose episodes are labelled, as `train --valid-fraction` divides it, and
asks how well its advantage A(s, a) = min(target Q1, Q2)(s, a) - V(s) at recorded chunks tells the steps of successful
episodes from those of failed ones: the area under the ROC curve (AUC; .5 is chance) in each fifth of an episode, for
the episodes that it learned from and for those that it did not.  Beside it the AUC of V alone: what the state tells.
Intervals (95%) are by bootstrap over episodes; they do not say how another training would do.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import mannwhitneyu

import dtql_robot
from dtql_robot import checkpoint
from dtql_robot.algorithm.agent import DTQL
from dtql_robot.config import Config
from dtql_robot.env_record import success_rule
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface
from dtql_robot.presets import override
from dtql_robot.training.behaviour import succeeds
from dtql_robot.training.buffer import make_buffer
from dtql_robot.training.held_out import hold_out
from dtql_robot.types import Array, Demonstrations

PHASES = 5


@dataclass(frozen=True)
class Judged:
    """What the critic says of every step: advantage and value, (N,) each, and which episode and phase it is of.

    good: (episodes,) whether an episode succeeds.
    """

    advantage: Array
    value: Array
    episode: Array
    phase: Array
    good: Array


@torch.no_grad()
def judge(agent: DTQL, face: Interface, demos: Demonstrations) -> Judged:
    """The critic's opinion of every recorded chunk of the demonstrations."""
    cfg, cpu = agent.cfg, torch.device("cpu")
    buffer = make_buffer(demos, cfg.data, cfg.critic.discount, face.low_keys, face.obs_norm, face.action_norm, cpu)
    b = buffer.batch(torch.arange(len(buffer)))
    value = agent.v(b.obs)
    advantage = agent.target_q(b.obs, b.action).min(dim=0).values - value
    lengths = [len(e) for e in demos.episodes]
    rule = success_rule(demos.env_spec)
    return Judged(
        advantage.numpy(),
        value.numpy(),
        np.repeat(np.arange(len(lengths)), lengths),
        np.concatenate([PHASES * np.arange(n) // n for n in lengths]),
        np.array([succeeds(e, rule) for e in demos.episodes]),
    )


def auc(scores: Array, good: Array) -> float:
    """The chance that a good step scores above a bad one."""
    yes, no = scores[good], scores[~good]
    return float(mannwhitneyu(yes, no).statistic) / (len(yes) * len(no))


def interval(j: Judged, scores: Array, phase: int, rounds: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """(AUC in a phase, its lowest and highest plausible values), episodes drawn anew within either group."""
    rows = [np.flatnonzero((j.episode == i) & (j.phase == phase)) for i in range(len(j.good))]
    groups = [np.flatnonzero(j.good), np.flatnonzero(~j.good)]

    def of(episodes: Array) -> float:
        chosen = np.concatenate([rows[i] for i in episodes])
        return auc(scores[chosen], j.good[j.episode[chosen]])

    drawn = [of(np.concatenate([rng.choice(g, len(g)) for g in groups])) for _ in range(rounds)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return of(np.concatenate(groups)), float(low), float(high)


def trained(demos: Demonstrations, cfg: Config) -> tuple[DTQL, Interface]:
    """An agent of the last checkpoint of a training."""
    with tempfile.TemporaryDirectory() as folder:
        run = dtql_robot.train(demos, Path(folder) / "run", cfg, progress=False)
        cfg, face, state = checkpoint.read(run, torch.device("cpu"))
        agent = checkpoint.make_agent(cfg, face, torch.device("cpu"))
        agent.load_state_dict(state)
    return agent, face


def main() -> None:
    """Train, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--valid-fraction", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=500, help="of the bootstrap")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    demos = dtql_robot.load(options.data)
    seen, held = hold_out(demos, options.valid_fraction)
    cfg = override(Config(), {"steps": options.steps, "seed": options.seed, "threads": 1, "device": "cpu"})
    found: dict[str, object] = {"steps": options.steps, "seed": options.seed, "valid_fraction": options.valid_fraction}
    agent, face = trained(seen, cfg)
    rng = np.random.default_rng(0)
    for name, part in (("in sample", seen), ("held out", held)):
        j = judge(agent, face, part)
        if j.good.all() or not j.good.any():
            raise InputError(f"{options.data}: expected successful and failed episodes {name}; all are alike.")
        print(f"{name}: {j.good.sum()} of {len(j.good)} episodes succeed")
        rows = {
            what: [interval(j, scores, phase, options.rounds, rng) for phase in range(PHASES)]
            for what, scores in (("advantage", j.advantage), ("value", j.value))
        }
        for what, phases in rows.items():
            print(f"  {what:10}" + "  ".join(f"{a:.3f} ({low:.3f} to {high:.3f})" for a, low, high in phases))
        found[name] = {"episodes": len(j.good), "succeed": int(j.good.sum()), **rows}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
