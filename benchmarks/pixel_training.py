"""Where the time of training from pixels goes: `python benchmarks/pixel_training.py [--data FILE.hdf5] [--device D]`.

Prints updates a second, the images that these read (now and after the chunk), the shares of data (making a batch),
encoder (augmentation, encoding of the state and the next state, its backward pass and step) and heads (all else), and
the peak of memory, for each kind of encoder.  On a GPU a second line follows: the same update as one CUDA graph, which
has no parts.  The parts are timed alternating with whole updates in one process, so that what else the machine does
falls on all alike.  On a GPU the rates are those of blocks of --updates updates, between which the host waits.
Without --data, random images of --size pixels from --cameras cameras.  --json keeps all numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from update_speed import machine

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.checkpoint import make_agent
from dtql_robot.config import Config, EncoderConfig
from dtql_robot.datasets import load
from dtql_robot.datasets.loader import read_source
from dtql_robot.training.cuda_graph import WARM_UP
from dtql_robot.training.learner import SingleLearner
from dtql_robot.training.pixel_buffer import PixelBuffer
from dtql_robot.training.prepare import prepare
from dtql_robot.types import Demonstrations, Episode, PixelBatch

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


def measure(
    demos: Demonstrations, cfg: Config, device: torch.device, rounds: int, updates: int
) -> list[dict[str, Any]]:
    """A row for eager updates, and on a GPU one for a CUDA graph."""
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, obs_keys=tuple(demos.obs_shapes)))
    cfg, face, buffer, _ = prepare(demos, cfg, device)
    assert isinstance(buffer, PixelBuffer)
    agent = make_agent(cfg, face, device)
    batches = buffer.batches(cfg.optim.batch_size, 0, 0)
    held = [next(batches)]
    parts: dict[str, tuple[int, Callable[[], Any]]] = {
        "data": (1, lambda: held.__setitem__(0, next(batches))),
        "encoder": (1, lambda: encode(agent, held[0])),
        "update": (1, lambda: agent.update(held[0])),
    }
    if device.type == "cuda":
        parts["eager"] = updates, lambda: agent.update(next(batches))
    eager = timed(parts, device, rounds)
    whole = eager["data"] + eager["update"]
    shares = {"data": eager["data"], "encoder": eager["encoder"], "heads": eager["update"] - eager["encoder"]}
    images = images_of(held[0])
    rows = [row("eager", eager.get("eager", whole), images, device) | {k: v / whole for k, v in shares.items()}]
    if cfg.optim.cuda_graph == "on":
        torch.cuda.reset_peak_memory_stats()
        steps = SingleLearner(make_agent(cfg, face, device)).updates(buffer)
        for _ in range(WARM_UP + 1):
            next(steps)
        graph = timed({"graph": (updates, lambda: next(steps))}, device, rounds)
        rows.append(row("graph", graph["graph"], images, device))
    return rows


def encode(agent: DTQL, batch: PixelBatch) -> None:
    """An update's part that concerns the encoder."""
    assert agent.encoder is not None
    b, features = agent.encoder.encode_batch(batch, agent.generator)
    agent.optimizers["encoder"].zero_grad(set_to_none=True)
    features.backward(torch.zeros_like(b.obs))
    agent.optimizers["encoder"].step()


def timed(parts: dict[str, tuple[int, Callable[[], Any]]], device: torch.device, rounds: int) -> dict[str, float]:
    """Mean seconds of a call of each part.  parts: name -> (calls between which nobody waits, the call)."""
    for _, call in parts.values():
        call()
    total = dict.fromkeys(parts, 0.0)
    for _ in range(rounds):
        for name, (count, call) in parts.items():
            total[name] += seconds(lambda c=call, n=count: [c() for _ in range(n)], device) / rounds / count  # type: ignore[misc]
    return total


def images_of(batch: PixelBatch) -> int:
    """The images of a batch: samples, cameras, frames, now and after the chunk."""
    return sum(len(v) * v.shape[1] for part in (batch.images, batch.next_images) for v in part.values())


def row(mode: str, whole: float, images: int, device: torch.device) -> dict[str, Any]:
    """What both ways to update tell.  whole: seconds of an update."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"mode": mode, "updates_per_s": 1 / whole, "images_per_s": images / whole, "peak_bytes": peak}


def show(found: dict[str, Any]) -> None:
    """One line."""
    shares = "".join(f"{found[k]:>9.0%}" if k in found else " " * 9 for k in ("data", "encoder", "heads"))
    print(
        f"{found['encoder_kind']:<11}{found['precision']:<10}{found['mode']:<6}{found['updates_per_s']:>10.2f}"
        f"{found['images_per_s']:>11.0f}{shares}{found['peak_bytes'] / 1e9:>10.2f} GB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--size", type=int, default=84)
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--encoders", nargs="+", default=["cnn", "impala", "resnet18"])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.device(options.device)
    demos = read(options.data) if options.data else random_demos(options.cameras, options.size)
    print(f"{demos.source}: {demos.obs_shapes}; batches of {options.batch} on {device}")
    print("encoder    precision mode   updates/s   images/s     data  encoder    heads  peak memory")
    about = {**machine(options.device), **{k: getattr(options, k) for k in ("batch", "rounds", "updates")}}
    about |= {"source": demos.source, "shapes": demos.obs_shapes}
    rows: list[dict[str, Any]] = []
    for kind in options.encoders:
        for precision in options.precisions:
            encoder = EncoderConfig(encoder=kind, encoder_precision=precision)
            cfg = Config(device=options.device, encoder=encoder)
            cfg = dataclasses.replace(cfg, optim=dataclasses.replace(cfg.optim, batch_size=options.batch))
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            for found in measure(demos, cfg, device, options.rounds, options.updates):
                rows.append({"encoder_kind": kind, "precision": precision, **found})
                show(rows[-1])
            if options.json:  # each time, so that a run that is cut keeps what it has
                options.json.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
