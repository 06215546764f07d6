"""Frames per second read from a LeRobot data set: this package, first and second load, and lerobot's own loader.

python benchmarks/lerobot_reading.py [PYTHON], where PYTHON is that of an environment with `lerobot` 0.4 (version 3.0);
without it only this package is timed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dtql_robot.datasets import load, save_lerobot
from dtql_robot.types import Demonstrations, Episode

EPISODES, STEPS, SIZE = 4, 200, 128
THEIRS = """
import sys, time
from lerobot.datasets.lerobot_dataset import LeRobotDataset
data = LeRobotDataset("bench/bench", root=sys.argv[1])
data[0]
start = time.perf_counter()
for i in range(len(data)):
    data[i]
print(len(data) / (time.perf_counter() - start))
"""


def made(folder: Path, video: bool) -> Path:
    """Episodes with one camera, whose picture drifts."""
    t, y, x = np.mgrid[:STEPS, :SIZE, :SIZE]
    images = np.stack([(2 * x + 3 * t) % 256, (2 * y + t) % 256, (x + y + 2 * t) % 256], -1).astype(np.uint8)
    obs = {"observation": np.zeros((STEPS, 8), np.float32), "front_image": images}
    actions, zeros = np.zeros((STEPS, 7), np.float32), np.zeros(STEPS, np.float32)
    episodes = tuple(Episode(f"e{i}", obs, None, actions, zeros, False, True) for i in range(EPISODES))
    return save_lerobot(Demonstrations(episodes, "made", "arrays"), folder, video=video, fps=20)


def rate(folder: Path) -> float:
    """Frames per second of this package."""
    start = time.perf_counter()
    demos = load(folder, obs_keys=["observation", "front_image"])
    sum(int(e.obs["front_image"].sum()) for e in demos.episodes)
    return demos.num_transitions / (time.perf_counter() - start)


def main() -> None:
    """Print one line for each way to store images."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DTQL_ROBOT_CACHE"] = f"{folder}/cache"
        for video in (True, False):
            path = made(Path(folder) / ("mp4" if video else "png"), video)
            line = f"{path.name}: first load {rate(path):.0f} frames/s, second {rate(path):.0f}"
            if len(sys.argv) > 1:
                env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
                env |= {"HF_HUB_OFFLINE": "1", "HF_HOME": f"{folder}/hf"}
                command = [sys.argv[1], "-c", THEIRS, str(path)]
                done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
                line += f", lerobot {float(done.stdout.split()[-1]):.0f}" if not done.returncode else done.stderr[-300:]
            print(line, flush=True)


if __name__ == "__main__":
    main()
