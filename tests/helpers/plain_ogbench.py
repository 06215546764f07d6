"""The recording loop that OGBench's authors describe, for cubes, written down plainly and with a seed."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np

STACKING = {"single": (0.0, 0.0), "double": (0.0, 0.25), "triple": (0.05, 0.35)}


class Rows(NamedTuple):
    """obs (N, O), actions (N, 5), qpos (N, Q): a recording's rows.  targets, reached: how many the oracle had."""

    obs: np.ndarray
    actions: np.ndarray
    qpos: np.ndarray
    targets: int
    reached: int


def record_cubes(size: str, kind: str, steps: int, seed: int) -> Rows:
    """One recording of `steps` rows in the scene of "single", "double" or "triple" cubes."""
    import gymnasium
    import ogbench  # noqa: F401

    env = gymnasium.make(
        f"cube-{size}-v0",
        disable_env_checker=True,
        terminate_at_goal=False,
        mode="data_collection",
        max_episode_steps=steps,
    )
    module, name = ("plan", "CubePlanOracle") if kind == "play" else ("markov", "CubeMarkovOracle")
    options: dict[str, Any] = {"noise": 0.1, "noise_smoothing": 0.5} if kind == "play" else {"min_norm": 0.4}
    found = importlib.import_module(f"ogbench.manipspace.oracles.{module}.cube_{module}")
    oracle = getattr(found, name)(env=env, **options)
    np.random.seed(seed)
    obs, info = env.reset(seed=seed)
    p_stack = np.random.uniform(*STACKING[size])
    xi = np.random.uniform(0, 0.1) if kind == "noisy" else 0.0
    oracle.reset(obs, info)
    rows: list[tuple[Any, ...]] = []
    targets, reached, done = 1, 0, False
    while not done:
        if kind == "noisy" and np.random.rand() < 0.1:
            action = np.random.uniform(-1, 1, 5)
        else:
            action = np.array(oracle.select_action(obs, info))
            if kind == "noisy":
                action = action + np.random.normal(0, [xi, xi, xi, xi * 3, xi * 10], action.shape)
        action = np.clip(action, -1, 1)
        next_obs, _, terminated, truncated, info = env.step(action)
        done = terminated or truncated
        if oracle.done:
            reached += bool(info["success"])
            if not done:
                targets += 1
                oracle.reset(*env.unwrapped.set_new_target(p_stack=p_stack))  # type: ignore[attr-defined]
        rows.append((obs, action, info["prev_qpos"]))
        obs = next_obs
    env.close()
    return Rows(*(np.stack(column).astype(np.float32) for column in zip(*rows, strict=True)), targets, reached)
