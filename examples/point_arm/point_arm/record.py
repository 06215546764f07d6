"""`python -m point_arm.record FOLDER`: forty demonstrations as CSV files."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from point_arm.csv_format import COLUMNS
from point_arm.env import make


def main(folder: Path, count: int = 40) -> None:
    """Move straight to the goal, with a little noise."""
    folder.mkdir(parents=True, exist_ok=True)
    env, rng = make("reach"), np.random.default_rng(0)
    for i in range(count):
        obs, _ = env.reset(seed=i)
        with open(folder / f"demo_{i:02}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for _ in range(15):
                action = np.clip(10 * (obs["goal"] - obs["position"]) + rng.normal(0, 0.1, 2), -1, 1)
                before = obs
                obs, _, _, _, info = env.step(action)
                writer.writerow([*before["position"], *before["goal"], *action, int(info["success"])])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
