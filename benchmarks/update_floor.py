"""What an update cannot be faster than: `python benchmarks/update_floor.py [--threads 1] [--json out.json]`.

For the update that update_speed.py times (the paper's settings and sizes): operations of its matrix products, counted
by torch while one update runs, over the rate that this machine reaches in such products; bytes of weights and Adam's
moments over the rate of a copy; and the number of operations that torch dispatches times the cost of the smallest one,
which a compiled update saves in part and a CUDA graph wholly.  Rates are the best of `--rounds`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from update_speed import ACTION, OBS, PlainDTQL, machine, make_buffer, paper, random_data

from dtql_robot.algorithm.agent import DTQL


class OpCounter(TorchDispatchMode):
    """Counts operations."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def best_rate(call: Callable[[], Any], amount: float, sync: Callable[[], Any], rounds: int) -> float:
    """`amount` per second, best of `rounds` of at least 0.1 s each."""
    call()
    best = 0.0
    for _ in range(rounds):
        sync()
        start, calls = time.perf_counter(), 0
        while time.perf_counter() - start < 0.1:
            call()
            sync()
            calls += 1
        best = max(best, calls * amount / (time.perf_counter() - start))
    return best


def product_rate(size: int, dtype: torch.dtype, device: str, sync: Callable[[], Any], rounds: int) -> float:
    """GFLOP/s of a product of two square matrices."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return best_rate(lambda: torch.mm(a, b), 2e-9 * size**3, sync, rounds)


def counts(device: str) -> dict[str, float]:
    """GFLOP and operations of one update of the baseline and of the package, MB that weights and moments take."""
    cfg, data = paper(), random_data(np.random.default_rng(0))
    agent = DTQL(cfg, OBS, ACTION, 0.5, torch.device(device))
    buffer, plain = make_buffer(data, device), PlainDTQL(cfg, data, 0.5, device)
    found: dict[str, float] = {}
    for name, update in {
        "plain": plain.update,
        "eager": lambda: agent.update(buffer.sample(cfg.optim.batch_size, agent.generator)),
    }.items():
        update()
        with FlopCounterMode(display=False) as flops:
            update()
        with OpCounter() as operations:
            update()
        found |= {f"gflop_{name}": flops.get_total_flops() / 1e9, f"operations_{name}": operations.count}
    trained = sum(p.numel() for o in agent.optimizers.values() for g in o.param_groups for p in g["params"])
    averaged = sum(p.numel() for n in (agent.target_q, agent.ema_policy) for p in n.parameters())
    # Adam reads weight, gradient and two moments and writes all but the gradient; an average reads two and writes one.
    return {**found, "weights": trained, "mb_weights_and_moments": (28 * trained + 12 * averaged) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, rounds = options.device, options.rounds
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None
    found: dict[str, Any] = {**machine(device), **counts(device)}
    for dtype in (torch.float32, torch.bfloat16):
        for size in (256, 2048):
            name = f"gflop_per_s_{str(dtype).removeprefix('torch.')}_{size}"
            found[name] = product_rate(size, dtype, device, sync, rounds)
    block, one = torch.zeros(2**26, device=device), torch.zeros(1, device=device)
    other = torch.zeros_like(block)
    found["gb_per_s"] = best_rate(lambda: other.copy_(block), 8e-9 * len(block), sync, rounds)
    found["us_per_operation"] = 1e6 / best_rate(lambda: one.add_(one), 1, lambda: None, rounds)
    rate = found["gflop_per_s_float32_256"]
    found["floor_products_ms"] = 1e3 * found["gflop_eager"] / rate
    found["floor_products_bf16_ms"] = 1e3 * found["gflop_eager"] / found["gflop_per_s_bfloat16_256"]
    found["floor_bytes_ms"] = found["mb_weights_and_moments"] / found["gb_per_s"]
    found["dispatch_ms"] = found["us_per_operation"] * found["operations_eager"] / 1e3
    for key, value in found.items():
        print(f"{key:<28}{value:.4g}" if isinstance(value, float) else f"{key:<28}{value}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
