"""Where the time of training from pixels goes: `python benchmarks/pixel_training.py [--data FILE.hdf5] [--device D]`.

Prints updates a second, the peak of memory, and the shares of data (making a batch), encoder (augmentation, encoding of
the state and the next state, its backward pass and step) and heads (all else), for each kind of encoder.  The parts are
timed alternating with whole updates in one process, so that what else the machine does falls on all alike.
Without --data, random images of --size pixels from --cameras cameras.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtql_robot.checkpoint import make_agent
from dtql_robot.config import Config, EncoderConfig
from dtql_robot.datasets import load
from dtql_robot.datasets.loader import read_source
from dtql_robot.training.pixel_buffer import PixelBuffer
from dtql_robot.training.prepare import prepare
from dtql_robot.types import Demonstrations, Episode

STEPS = 50


def random_demos(cameras: int, size: int, episodes: int = 20) -> Demonstrations:
    """Random images, states and actions."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(episodes):
        obs: dict[str, Any] = {"state": rng.standard_normal((STEPS, 13)).astype(np.float32)}
        for c in range(cameras):
            obs[f"camera{c}_image"] = rng.integers(0, 256, (STEPS, size, size, 3), dtype=np.uint8)
        actions = rng.uniform(-1, 1, (STEPS, 4)).astype(np.float32)
        success = np.arange(STEPS) > 40
        made.append(Episode(f"demo_{i}", obs, None, actions, success.astype(np.float32), False, True, success))
    return Demonstrations(tuple(made), "random", "robomimic")


def read(path: Path) -> Demonstrations:
    """The file's images and its first other observation."""
    available = read_source(path).available
    images = [k for k, stored in available.items() if stored.is_image]
    low = [k for k, stored in available.items() if not stored.is_image]
    return load(path, obs_keys=(*low[:1], *images))


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    """One call's time, its work on the device included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(demos: Demonstrations, cfg: Config, device: torch.device, rounds: int) -> dict[str, float]:
    """Mean seconds of a whole update and its parts."""
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, obs_keys=tuple(demos.obs_shapes)))
    cfg, face, buffer, _ = prepare(demos, cfg, device)
    assert isinstance(buffer, PixelBuffer)
    agent = make_agent(cfg, face, device)
    batches = buffer.batches(cfg.optim.batch_size, 0, 0)
    encoder = agent.encoder
    assert encoder is not None

    def encode() -> None:
        b, features = encoder.encode_batch(held[0], agent.generator)
        agent.optimizers["encoder"].zero_grad(set_to_none=True)
        features.backward(torch.zeros_like(b.obs))
        agent.optimizers["encoder"].step()

    held = [next(batches)]
    parts: dict[str, Callable[[], Any]] = {
        "data": lambda: held.__setitem__(0, next(batches)),
        "encoder": encode,
        "update": lambda: agent.update(held[0]),
    }
    for call in parts.values():
        call()
    total = dict.fromkeys(parts, 0.0)
    for _ in range(rounds):
        for name, call in parts.items():
            total[name] += seconds(call, device) / rounds
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--size", type=int, default=84)
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--encoders", nargs="+", default=["cnn", "impala", "resnet18"])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    demos = read(options.data) if options.data else random_demos(options.cameras, options.size)
    print(f"{demos.source}: {demos.obs_shapes}; batches of {options.batch} on {device}")
    print("encoder    precision  updates/s     data  encoder    heads  peak memory")
    for kind in options.encoders:
        for precision in options.precisions:
            encoder = EncoderConfig(encoder=kind, encoder_precision=precision)
            cfg = Config(device=options.device, encoder=encoder)
            cfg = dataclasses.replace(cfg, optim=dataclasses.replace(cfg.optim, batch_size=options.batch))
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            found = measure(demos, cfg, device, options.rounds)
            whole = found["data"] + found["update"]
            shares = [found["data"], found["encoder"], found["update"] - found["encoder"]]
            if device.type == "cuda":
                peak = torch.cuda.max_memory_allocated()
            else:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(
                f"{kind:<11}{precision:<10}{1 / whole:>10.2f} "
                + "".join(f"{share / whole:>9.0%}" for share in shares)
                + f"{peak / 1e9:>10.2f} GB",
                flush=True,
            )


if __name__ == "__main__":
    main()
