"""Small files in D4RL's exact layout for each row of the paper's tables, recorded by random actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dtql_robot import paper
from dtql_robot.envs import make_env

METADATA = {"algorithm": "random"}


def d4rl_arrays(row: paper.Row, episodes: int = 3, steps: int = 12) -> dict[str, np.ndarray]:
    """What a published file of this row holds, by its place in the file: episodes that are cut off after `steps`."""
    env = make_env(row.env, max_episode_steps=steps)
    sim: Any = env.unwrapped
    env.action_space.seed(0)
    rows: dict[str, list] = {}
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        for t in range(steps):
            action = env.action_space.sample()
            state = {"infos/qpos": sim.data.qpos.copy(), "infos/qvel": sim.data.qvel.copy()}
            if row.env.startswith("d4rl:antmaze"):
                state["infos/goal"] = np.array(sim.goal)
            following, reward, terminated, *_ = env.step(action)
            for key, value in {
                "observations": obs["observation"],
                "next_observations": following["observation"],
                "actions": action,
                "rewards": reward,
                "terminals": terminated,
                "timeouts": t == steps - 1 and not terminated,
                **state,
            }.items():
                rows.setdefault(key, []).append(value)
            obs = following
            if terminated:
                break
    env.close()
    found = {key: np.asarray(values) for key, values in rows.items()}
    if not row.env.endswith("-v4"):  # D4RL records what follows in locomotion only
        del found["next_observations"]
    return {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in found.items()}


def write_d4rl(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """The file at `path`, with the metadata that locomotion files have."""
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file.create_dataset(key, data=value, compression="gzip")
        for key, text in METADATA.items():
            file[f"metadata/{key}"] = text
    return path
