"""The policies that are released with the package, by environment and level, so that data can be made anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dtql_robot.errors import InputError

Level = Literal["random", "medium", "expert", "replay"]
TRAIN = "python benchmarks/makers/train_maker.py"
"""What makes such policies, in a checkout of the repository."""


@dataclass(frozen=True)
class Maker:
    """One released policy, an actor of Stable-Baselines3 that samples its actions.

    env, level     what it is released as
    algorithm      "PPO" or "SAC"
    seed, steps    of its training
    mean_return    over `episodes` episodes of an evaluation with seed 0; low, high: its 95% interval
    """

    env: str
    level: Level
    algorithm: str
    seed: int
    steps: int
    mean_return: float
    low: float
    high: float
    episodes: int = 50

    @property
    def folder(self) -> Path:
        """Where its weights are, as `load_policy` takes it."""
        return FOLDER / f"{self.env}-{self.level}".lower()


FOLDER = Path(__file__).parent / "released"
RELEASED: tuple[Maker, ...] = (
    Maker("Hopper-v5", "medium", "PPO", seed=0, steps=350_000, mean_return=1367.0, low=1307.1, high=1429.5),
    Maker("Hopper-v5", "expert", "PPO", seed=0, steps=950_000, mean_return=3132.5, low=2949.4, high=3308.3),
    Maker("Walker2d-v5", "medium", "PPO", seed=0, steps=300_000, mean_return=1363.2, low=1253.8, high=1479.8),
    Maker("HalfCheetah-v5", "medium", "PPO", seed=0, steps=300_000, mean_return=4394.7, low=4111.0, high=4621.2),
)
"""All of them.  A level is added with `benchmarks/makers/release_maker.py`, which measures it."""


def maker(env: str, level: Level) -> Maker:
    """The released policy.  InputError where there is none, with those that there are and what makes one."""
    found = next((m for m in RELEASED if (m.env, m.level) == (env, level)), None)
    if found is not None:
        return found
    there = ", ".join(f"{m.env} {m.level}" for m in RELEASED) or "none yet"
    if level == "replay":
        raise InputError(
            f"Level replay is what a maker saw while it learned, a file and no policy: `{TRAIN} {env} "
            "--algorithm sac --medium-return 1400 --out makers` writes it as makers/replay.hdf5."
        )
    raise InputError(
        f"No policy of level {level} is released for {env}; released: {there}. `{TRAIN} {env} --out makers` trains "
        "policies, which --policy makers/step_100000 records."
    )
