"""Train a demonstrator for locomotion with Stable-Baselines3, and keep it at every stage.

    pip install 'dtql-robot[makers]'
    python benchmarks/makers/train_maker.py Hopper-v5 --steps 1000000 --seed 0 --out makers/hopper

In OUT:
    returns.csv           steps, seconds, mean_return, sd, mean_length of 10 sampled episodes at every stage
    step_N.zip, .norm.npz the agent as Stable-Baselines3 saves it, and the normalization of its observations
    step_N/               its actor as a policy's folder, for `collect --policy OUT/step_N`
    replay.hdf5           with --algorithm sac --medium-return R: all that was seen until the return first reached R, in
                          D4RL's layout

PPO (minutes): two layers of 256 with ReLU, normalized observations and rewards, 8 environments of 256 steps each, a
learning rate that falls from 3e-4 to 0.  Its Gaussian acts through tanh, so that actions are squashed as SAC's are.
SAC (hours): the library's own settings, and 10,000 steps of random actions at the start.
Both on one thread.  The same seed gives the same policies on the same machine.
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
from dtql_robot.makers.sb3 import save_sb3

INSTALL = "train_maker needs the package stable_baselines3: pip install 'dtql-robot[makers]'"
EPISODES, WARM_UP, ENVS, ROLLOUT = 10, 10_000, 8, 256
EVERY = {"ppo": 50_000, "sac": 10_000}
FIRST_SEED = 1_000_000
"""Of the evaluation's episodes, away from those of the training."""
BEYOND = 4.0
"""Bound of what PPO's Gaussian may give before tanh."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env", help="a Gymnasium id, such as Hopper-v5")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--algorithm", choices=("ppo", "sac"), default="ppo")
    parser.add_argument("--steps", type=int, default=1_000_000, help="environment steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, help="steps between two stages (ppo 50000, sac 10000)")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="of sac: steps of random actions at the start")
    parser.add_argument("--medium-return", type=float, help="of sac: write replay.hdf5 when the return reaches this")
    options = parser.parse_args(arguments)
    try:
        import stable_baselines3  # noqa: F401
        import torch
    except ImportError as error:
        raise SystemExit(INSTALL) from error
    torch.set_num_threads(1)
    options.every = options.every or EVERY[options.algorithm]
    options.out.mkdir(parents=True, exist_ok=True)
    agent = (make_ppo if options.algorithm == "ppo" else make_sac)(options)
    agent.learn(options.steps, callback=Stages(options).at_step)


def make_sac(options: argparse.Namespace) -> Any:
    """SAC in one environment."""
    from stable_baselines3 import SAC

    sizes = {"learning_starts": options.warm_up, "buffer_size": options.steps}
    return SAC("MlpPolicy", gymnasium.make(options.env), seed=options.seed, **sizes)


def make_ppo(options: argparse.Namespace) -> Any:
    """PPO in several environments whose actions go through tanh."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    envs = VecNormalize(DummyVecEnv([lambda: squashed(options.env)] * ENVS))
    network = {"net_arch": [256, 256], "activation_fn": torch.nn.ReLU, "log_std_init": -1.0, "ortho_init": False}
    return PPO(
        "MlpPolicy",
        envs,
        seed=options.seed,
        n_steps=ROLLOUT,
        batch_size=256,
        n_epochs=10,
        gamma=0.99,
        learning_rate=lambda left: 3e-4 * left,
        policy_kwargs=network,
    )


def squashed(env_id: str) -> gymnasium.Env:
    """The environment, which takes u and executes tanh(u), scaled to the bounds of its actions."""
    env = gymnasium.make(env_id)
    box = env.action_space
    middle, half = (box.high + box.low) / 2, (box.high - box.low) / 2
    space = gymnasium.spaces.Box(-BEYOND, BEYOND, box.shape, np.float32)
    return gymnasium.wrappers.TransformAction(env, lambda u: middle + half * np.tanh(u), space)


class Stages:
    """Evaluates and keeps the agent while it learns."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.start, self.next = options, time.time(), options.every
        self.env = squashed(options.env) if options.algorithm == "ppo" else gymnasium.make(options.env)
        self.replay_is_due = options.algorithm == "sac" and options.medium_return is not None
        with open(options.out / "returns.csv", "w", newline="") as file:
            csv.writer(file).writerow(("steps", "seconds", "mean_return", "sd", "mean_length"))

    def at_step(self, locals_: dict[str, Any], _: dict[str, Any]) -> bool:
        """The library's callback: called after every step; training goes on where it answers True."""
        agent = locals_["self"]
        if agent.num_timesteps >= self.next:
            self.next += self.options.every
            self.keep(agent)
        return True

    def keep(self, agent: Any) -> None:
        """Judge the agent and write it."""
        steps, out, normalizer = agent.num_timesteps, self.options.out, agent.get_vec_normalize_env()
        returns, lengths = zip(*(self.play(agent, FIRST_SEED + i) for i in range(EPISODES)), strict=True)
        mean, sd = float(np.mean(returns)), float(np.std(returns))
        with open(out / "returns.csv", "a", newline="") as file:
            seconds = round(time.time() - self.start)
            csv.writer(file).writerow((steps, seconds, f"{mean:.1f}", f"{sd:.1f}", f"{np.mean(lengths):.1f}"))
        print(f"{steps} steps: return {mean:.1f} +- {sd:.1f}", flush=True)
        agent.save(out / f"step_{steps}")
        norm = None
        if normalizer is not None:
            norm = (normalizer.obs_rms.mean, np.sqrt(normalizer.obs_rms.var + normalizer.epsilon))
            np.savez(out / f"step_{steps}.norm.npz", mean=norm[0], std=norm[1])
        save_sb3(out / f"step_{steps}.zip", self.options.env, out / f"step_{steps}", norm=norm, overwrite=True)
        if self.replay_is_due and mean >= self.options.medium_return:
            self.replay_is_due = False
            about = {"maker": f"SAC, seed {self.options.seed}, {steps} steps, return {mean:.1f}"}
            demos = replayed(self.options.env, buffer_arrays(agent), about)
            save_d4rl(demos, out / "replay.hdf5", overwrite=True)

    def play(self, agent: Any, seed: int) -> tuple[float, int]:
        """(return, steps) of an episode of sampled actions."""
        normalizer = agent.get_vec_normalize_env()
        obs, _ = self.env.reset(seed=seed)
        total, steps, ended = 0.0, 0, False
        while not ended:
            seen = obs if normalizer is None else normalizer.normalize_obs(obs)
            obs, reward, terminated, truncated, _ = self.env.step(agent.predict(seen, deterministic=False)[0])
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
