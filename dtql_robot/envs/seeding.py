"""Episode seeds.  Demonstrations are never collected on the episodes a policy is later judged on.

Episode i of a run with seed s starts from `env.reset(seed=...)` with
    collection:  s * 100_000 + i                    in [0, 1_000_000_000)
    evaluation:  1_000_000_000 + s * 100_000 + i    in [1_000_000_000, 2_000_000_000)
    evaluation while training, whatever the training's seed:  2_000_000_000 + i
The ranges do not meet, and within one no two (s, i) share a seed.
"""

from __future__ import annotations

import numpy as np

from dtql_robot.errors import require_whole

EPISODES_PER_SEED = 100_000
SEEDS = 10_000
EVALUATION_OFFSET = SEEDS * EPISODES_PER_SEED


def check_run(seed: int, episodes: int) -> None:
    """InputError unless seed and number of episodes are in the ranges above."""
    require_whole("seed", seed, 0, SEEDS - 1)
    require_whole("episodes", episodes, 1, EPISODES_PER_SEED)


def collection_seed(seed: int, episode: int) -> int:
    """Seed of the environment in episode `episode` of a collection."""
    return seed * EPISODES_PER_SEED + episode


def evaluation_seed(seed: int, episode: int) -> int:
    """Seed of the environment in episode `episode` of an evaluation."""
    return EVALUATION_OFFSET + seed * EPISODES_PER_SEED + episode


def watching_seed(episode: int) -> int:
    """Seed of the environment in episode `episode` of an evaluation while training (`train --eval-every`)."""
    return EVALUATION_OFFSET + SEEDS * EPISODES_PER_SEED + episode


def episode_rng(episode_seed: int) -> np.random.Generator:
    """The episode's own generator for action noise: the same whatever runs beside it."""
    return np.random.default_rng([episode_seed, 1])
