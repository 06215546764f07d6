"""Batches of images a second: `python benchmarks/pixel_loading.py [--data FILE.hdf5] [--seconds 10]`.

Compares, alternating within one run, how training gets its batches of images:

  DataLoader    a torch Dataset that reads each sample's images from the HDF5 file, in a DataLoader with workers
  in memory     the same, from arrays in memory, collated by a DataLoader with workers
  buffer        this package's PixelBuffer, uint8 on the device
  on disk       the same from its file on disk, read ahead by a thread

A batch is what an update takes: each camera's image of the state and of the state after the chunk, uint8.
Without --data a file of random images is written first (--transitions, --size, --cameras).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from dtql_robot.config import Config, DataConfig
from dtql_robot.datasets import load
from dtql_robot.datasets.loader import read_source
from dtql_robot.training.prepare import prepare
from dtql_robot.types import Demonstrations

STEPS = 50


def write_file(path: Path, transitions: int, size: int, cameras: int) -> None:
    """Demonstrations of random images as `collect` writes them: a frame a chunk, compressed."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "FetchReach-v4", "type": 2, "env_kwargs": {}})
        for index in range(transitions // STEPS):
            demo = data.create_group(f"demo_{index}")
            for c in range(cameras):
                coarse = rng.integers(0, 256, (STEPS + 1, size // 4, size // 4, 3), dtype=np.uint8)
                images = coarse.repeat(4, axis=1).repeat(4, axis=2)
                for group, rows in (("obs", images[:-1]), ("next_obs", images[1:])):
                    options: dict[str, Any] = {"chunks": (1, *rows.shape[1:]), "compression": "gzip"}
                    demo.create_dataset(f"{group}/camera{c}_image", data=rows, compression_opts=1, **options)
            state = rng.standard_normal((STEPS + 1, 10)).astype(np.float32)
            demo["obs/state"], demo["next_obs/state"] = state[:-1], state[1:]
            demo["actions"] = rng.uniform(-1, 1, (STEPS, 4)).astype(np.float32)
            demo["rewards"], demo["dones"] = np.zeros(STEPS), np.zeros(STEPS, np.int64)


class Samples(Dataset):
    """A sample's images at step t and after the chunk, one by one: from the file, or from the episodes' arrays."""

    def __init__(self, path: Path, keys: list[str], horizon: int, demos: Demonstrations | None) -> None:
        self.path, self.keys, self.horizon, self.demos = path, keys, horizon, demos
        self.file: Any = None
        with h5py.File(path) as file:
            self.index = [(name, t) for name, demo in file["data"].items() for t in range(len(demo["actions"]))]
        self.episodes = {e.name: e for e in demos.episodes} if demos else {}

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> dict[str, Any]:
        name, t = self.index[i]
        found = {}
        if self.demos is None:
            if self.file is None:
                self.file = h5py.File(self.path)
            demo = self.file["data"][name]
            last = min(t + self.horizon, len(demo["actions"])) - 1
            for key in self.keys:
                found[key], found[f"next {key}"] = demo[f"obs/{key}"][t], demo[f"next_obs/{key}"][last]
            return found
        episode = self.episodes[name]
        for key in self.keys:
            after = t + self.horizon
            images = episode.obs[key]
            found[key] = images[t]
            found[f"next {key}"] = images[after] if after < len(images) else episode.final_obs[key]  # type: ignore[index]
        return found


def forever(loader: DataLoader) -> Iterator[Any]:
    while True:
        yield from loader


def rate(batches: Iterator[Any], seconds: float) -> float:
    """Batches a second, after the first few."""
    for _ in range(3):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(batches)
        count += 1
    return count / (time.perf_counter() - start)


def sources(path: Path, batch: int, workers: int, device: torch.device) -> dict[str, Callable[[], Iterator[Any]]]:
    """Name -> a maker of an endless iterator of batches."""
    keys = [k for k, stored in read_source(path).available.items() if stored.is_image]
    low = [k for k, stored in read_source(path).available.items() if not stored.is_image]
    cfg = Config(data=DataConfig(obs_keys=(*low[:1], *keys)))
    demos = load(path, obs_keys=cfg.data.obs_keys)

    def loader(in_memory: bool) -> Iterator[Any]:
        samples = Samples(path, keys, cfg.data.horizon, demos if in_memory else None)
        drawn = RandomSampler(samples, replacement=True, num_samples=10**7)
        return forever(DataLoader(samples, batch, sampler=drawn, num_workers=workers, drop_last=True))

    def buffer(limit: str) -> Iterator[Any]:
        os.environ["DTQL_ROBOT_MEMORY_GB"] = limit
        _, _, made, _ = prepare(demos, cfg, device)
        return made.batches(batch, 0, 0)  # type: ignore[union-attr]

    return {
        "DataLoader": lambda: loader(False),
        "DataLoader, in memory": lambda: loader(True),
        "buffer": lambda: buffer("100"),
        "buffer on disk": lambda: buffer("0.0000001"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--transitions", type=int, default=5_000)
    parser.add_argument("--size", type=int, default=84)
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.data or Path(folder) / "images.hdf5"
        if options.data is None:
            write_file(path, options.transitions, options.size, options.cameras)
        made = {k: f() for k, f in sources(path, options.batch, options.workers, torch.device(options.device)).items()}
        rates: dict[str, list[float]] = {name: [] for name in made}
        for _ in range(options.rounds):
            for name, batches in made.items():
                rates[name].append(rate(batches, options.seconds))
    for name, found in rates.items():
        ratios = sorted(r / base for r, base in zip(found, rates["DataLoader"], strict=True))
        shown = ", ".join(f"{r:.1f}" for r in sorted(found))
        print(f"{name:24}{shown} batches/s ({options.batch} samples); {ratios[len(ratios) // 2]:.1f} x DataLoader")


if __name__ == "__main__":
    main()
