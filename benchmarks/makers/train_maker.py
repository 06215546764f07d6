"""Train a demonstrator for locomotion with Stable-Baselines3's SAC, and keep it at every stage.

    pip install 'dtql-robot[makers]'
    python benchmarks/makers/train_maker.py Hopper-v5 --steps 300000 --seed 0 --out makers/hopper

In OUT:
    returns.csv          steps, seconds, mean_return, sd, mean_length of 10 sampled episodes, every 10,000 steps
    step_N.zip, step_N/  the agent as SAC saves it, and its actor as a policy's folder for `collect --policy OUT/step_N`
    replay.hdf5          with --medium-return R: all that was seen until the return first reached R, in D4RL's layout

SAC with the library's own settings (MlpPolicy, two layers of 256 with ReLU) but for 10,000 steps of random actions at
the start, on one thread.  The same seed gives the same policies on the same machine.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from dtql_robot.datasets import save_d4rl
from dtql_robot.makers.replay import replayed
from dtql_robot.makers.sac import save_sac

INSTALL = "train_maker needs the package stable_baselines3: pip install 'dtql-robot[makers]'"
EVERY, EPISODES, WARM_UP = 10_000, 10, 10_000
FIRST_SEED = 1_000_000
"""Of the evaluation's episodes, away from those of the training."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env", help="a Gymnasium id, such as Hopper-v5")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=300_000, help="environment steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=EVERY, help="steps between two evaluations")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="steps of random actions at the start")
    parser.add_argument("--medium-return", type=float, help="write replay.hdf5 when the return reaches this")
    options = parser.parse_args(arguments)
    try:
        import stable_baselines3
        import torch
    except ImportError as error:
        raise SystemExit(INSTALL) from error
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    agent = stable_baselines3.SAC(
        "MlpPolicy",
        gymnasium.make(options.env),
        seed=options.seed,
        learning_starts=options.warm_up,
        buffer_size=options.steps,
    )
    agent.learn(options.steps, callback=Stages(options).at_step)


class Stages:
    """Evaluates and keeps the agent while it learns."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.start = options, time.time()
        self.env = gymnasium.make(options.env)
        self.replay_is_due = options.medium_return is not None
        with open(options.out / "returns.csv", "w", newline="") as file:
            csv.writer(file).writerow(("steps", "seconds", "mean_return", "sd", "mean_length"))

    def at_step(self, locals_: dict[str, Any], _: dict[str, Any]) -> bool:
        """SAC's callback: called after every step; training goes on where it answers True."""
        agent = locals_["self"]
        if agent.num_timesteps % self.options.every == 0:
            self.keep(agent)
        return True

    def keep(self, agent: Any) -> None:
        """Judge the agent and write it."""
        steps, out = agent.num_timesteps, self.options.out
        returns, lengths = zip(*(self.play(agent, FIRST_SEED + i) for i in range(EPISODES)), strict=True)
        mean, sd = float(np.mean(returns)), float(np.std(returns))
        with open(out / "returns.csv", "a", newline="") as file:
            seconds = round(time.time() - self.start)
            csv.writer(file).writerow((steps, seconds, f"{mean:.1f}", f"{sd:.1f}", f"{np.mean(lengths):.1f}"))
        print(f"{steps} steps: return {mean:.1f} +- {sd:.1f}", flush=True)
        agent.save(out / f"step_{steps}")
        save_sac(out / f"step_{steps}.zip", self.options.env, out / f"step_{steps}", overwrite=True)
        if self.replay_is_due and mean >= self.options.medium_return:
            self.replay_is_due = False
            about = {"maker": f"SAC, seed {self.options.seed}, {steps} steps, return {mean:.1f}"}
            demos = replayed(self.options.env, buffer_arrays(agent), about)
            save_d4rl(demos, out / "replay.hdf5", overwrite=True)

    def play(self, agent: Any, seed: int) -> tuple[float, int]:
        """(return, steps) of an episode of sampled actions."""
        obs, _ = self.env.reset(seed=seed)
        total, steps, ended = 0.0, 0, False
        while not ended:
            obs, reward, terminated, truncated, _ = self.env.step(agent.predict(obs, deterministic=False)[0])
            total, steps, ended = total + float(reward), steps + 1, terminated or truncated
        return total, steps


def buffer_arrays(agent: Any) -> dict[str, np.ndarray]:
    """What `replayed` takes, of one environment's replay buffer."""
    buffer = agent.replay_buffer
    names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
    arrays = {name: getattr(buffer, name)[: buffer.size(), 0] for name in names}
    return arrays | {"actions": agent.policy.unscale_action(arrays["actions"])}


if __name__ == "__main__":
    main()
