"""What an update cannot be faster than: `python benchmarks/update_floor.py [--recipe default] [--threads 1]`.

For the update that update_speed.py times with the same --recipe and --task: operations of its matrix products, counted
while one update runs, over the rate that this machine reaches in such products; bytes of weights and Adam's moments
over the rate of a copy; and the number of operations that torch dispatches times the cost of the smallest one, which a
compiled update saves in part and a CUDA graph wholly.  Rates are the best of `--rounds`, by --clock.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from update_speed import CLOCKS, SIZES, PlainDTQL, machine, make_buffer, random_data, settings_of

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.config import Config


class Counter(TorchDispatchMode):
    """Counts operations, and the additions and multiplications of matrix products.

    (torch's own FlopCounterMode fails in `torch.func.grad`.)
    """

    operations, flop = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        if count := flop_registry.get(func.overloadpacket):
            self.flop += count(*args, **(kwargs or {}), out_val=out)
        return out


class Rates:
    """How fast this machine is.  now: a clock.  sync: waits for the device."""

    def __init__(self, now: Callable[[], float], sync: Callable[[], Any], rounds: int) -> None:
        self.now, self.sync, self.rounds = now, sync, rounds

    def best(self, call: Callable[[], Any], amount: float, wait: bool = True) -> float:
        """`amount` per second, best of the rounds of at least 0.1 s each."""
        call()
        best = 0.0
        for _ in range(self.rounds):
            self.sync()
            start, calls = self.now(), 0
            while self.now() - start < 0.1:
                call()
                if wait:
                    self.sync()
                calls += 1
            best = max(best, calls * amount / (self.now() - start))
        return best

    def product(self, size: int, dtype: torch.dtype, device: str) -> float:
        """GFLOP/s of a product of two square matrices."""
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        return self.best(lambda: torch.mm(a, b), 2e-9 * size**3)


def counts(cfg: Config, task: str, device: str) -> dict[str, float]:
    """GFLOP and operations of one update of the package, and of the baseline where it can; MB that weights and moments
    take."""
    data = random_data(np.random.default_rng(0), *SIZES[task])
    agent = DTQL(cfg, *SIZES[task], 0.5, torch.device(device))
    buffer = make_buffer(data, device, cfg.data.horizon, cfg.draws_behaviour)
    updates: dict[str, Callable[[], Any]] = {}
    if cfg.data.horizon == 1:
        updates["plain"] = PlainDTQL(cfg, data, 0.5, device).update
    updates["eager"] = lambda: agent.update(buffer.sample(cfg.optim.batch_size, agent.generator))
    found: dict[str, float] = {}
    for name, update in updates.items():
        update()
        with Counter() as counter:
            update()
        found |= {f"gflop_{name}": counter.flop / 1e9, f"operations_{name}": counter.operations}
    trained = sum(p.numel() for o in agent.optimizers.values() for g in o.param_groups for p in g["params"])
    averaged = sum(p.numel() for n in (agent.target_q, agent.ema_policy) for p in n.parameters())
    # Adam reads weight, gradient and two moments and writes all but the gradient; an average reads two and writes one.
    return {**found, "weights": trained, "mb_weights_and_moments": (28 * trained + 12 * averaged) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--recipe", choices=["paper", "default", "mixed", "unlabelled"], default="paper")
    parser.add_argument("--task", choices=list(SIZES), default="door")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = options.device
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None
    rates = Rates(CLOCKS[options.clock], sync, options.rounds)
    found: dict[str, Any] = {**machine(device), "recipe": options.recipe, "task": options.task}
    found |= counts(settings_of(options.recipe), options.task, device)
    for dtype in (torch.float32, torch.bfloat16):
        for size in (256, 2048):
            name = f"gflop_per_s_{str(dtype).removeprefix('torch.')}_{size}"
            found[name] = rates.product(size, dtype, device)
    block, one = torch.zeros(2**26, device=device), torch.zeros(1, device=device)
    other = torch.zeros_like(block)
    found["gb_per_s"] = rates.best(lambda: other.copy_(block), 8e-9 * len(block))
    found["us_per_operation"] = 1e6 / rates.best(lambda: one.add_(one), 1, wait=False)
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
