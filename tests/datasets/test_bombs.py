"""Files that claim far more than they hold: `inspect` of any ends within 30 s and 1 GiB, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.datasets import inspect, load, save_robomimic
from tests.helpers.bombs import BOMBS
from tests.helpers.sample_demos import make_demos

MEASURE = """
import re, sys
from dtql_robot.cli import main
code = main(["inspect", sys.argv[1]])
# Not ru_maxrss: that of a process counts what its parent had at the fork.
print("PEAK", int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024, file=sys.stderr)
sys.exit(code)
"""
SENTENCES = {
    "circles": "under two names, perhaps in a circle",
    "soft_circles": "more than 64 links",
    "just_within": None,
    "one_demo_many_names": "are one group under two names",
    "one_demo_many_soft_names": "are one group under two names",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_inspect_ends_soon_in_little_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.hdf5"
    BOMBS[name](path)
    start = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "DTQL_ROBOT_CACHE": "off"},
        timeout=60,
    )
    sentence = SENTENCES.get(name, "claims far more values than its")
    assert (ran.returncode, "Traceback" in ran.stderr) == (0 if sentence is None else 2, False), ran.stderr
    assert sentence is None or sentence in ran.stderr
    peak = re.search(r"PEAK (\d+)", ran.stderr)
    assert peak is not None
    assert int(peak[1]) < 1024 + path.stat().st_size // 2**20
    assert time.monotonic() - start < 30


def test_honest_compression_is_read(tmp_path: Path) -> None:
    """Steps that hardly change, flat images and many short filter keys: all smaller on disk, none refused."""
    demos = make_demos(3)
    path = save_robomimic(demos, tmp_path / "f.hdf5", masks={f"k{i}": [0, 1] for i in range(200)})
    with h5py.File(path, "a") as file:
        for episode in demos.episodes:
            demo = file[f"data/{episode.name}"]
            frames = np.zeros((len(episode), 240, 320, 3), np.uint8)
            for group in ("obs", "next_obs"):
                demo[group].create_dataset("front_image", data=frames, compression="gzip")
                demo[group].create_dataset("still", data=np.zeros((len(episode), 900)), compression="gzip")
    assert len(inspect(path)["filter_keys"]) == 200
    assert load(path, obs_keys=["front_image", "still"]).obs_shapes == {"front_image": (240, 320, 3), "still": (900,)}
