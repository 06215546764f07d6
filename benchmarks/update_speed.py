"""Speed of one update: `python benchmarks/update_speed.py [--threads 1] [--device cuda] [--json out.json]`.

The paper's settings (`--preset paper`, no pretraining) and sizes: batch 256, observation 39, action 28, horizon 1,
denoiser 4 x 256, critics 3 x 256 with LayerNorm and Mish, policy 3 x 256 with ReLU; random data of the size of the
Adroit door demonstrations.  `--recipe default` takes the default settings instead, for demonstrations that all succeed;
`--recipe mixed` the same where only some do, so that each update draws as many samples of those beside the others.
`--recipe unlabelled` the same where nothing tells which succeed, with more Q networks.
`--task pick` has the sizes of FetchPickAndPlace: observation 31, action 4.  In one process, round by round in turn:

  plain      plain_update.py: an unhurried script with the structure of the authors' code
  eager      the package's update
  compiled   with its losses compiled
  graph      compiled, and each update one CUDA graph (only on a GPU)
  one stream  the same graph with the critics in turn with the denoiser, not beside it
  two Q networks  with --recipe unlabelled: the eager update with as many as the other recipes have
  bf16, compiled bf16   with --bf16: matrix products in bfloat16 (`--precision bf16` of `train`), another arithmetic

Each round times `--updates` updates of each, reading nothing back but what a variant reads itself.  Wall time is what
counts on an idle machine.  CPU time (--clock cpu; with --threads 1) does not see what others do on the same cores, but
for their caches.  Shown: median over rounds, with the quartiles, and the ratio of plain to each, round by round.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from plain_update import PlainDTQL

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.algorithm.streams import InTurn
from dtql_robot.config import Config
from dtql_robot.presets import override, preset
from dtql_robot.training.buffer import ChunkBuffer
from dtql_robot.training.cuda_graph import GraphedUpdate
from dtql_robot.training.prepare import Q_NETWORKS_ALONE

OBS, ACTION, TRANSITIONS = 39, 28, 6729
SIZES = {"door": (OBS, ACTION), "pick": (31, 4)}
"""Task -> entries of an observation and of an action."""
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def paper(**settings: Any) -> Config:
    """The paper's settings, with the policy learning from the first update."""
    return override(preset("paper"), {"optim.pretrain_steps": 0, **settings})


def settings_of(recipe: str) -> Config:
    """The settings of a --recipe."""
    if recipe == "paper":
        return paper()
    found = {"mixed": {"data.behaviour": "successes"}, "unlabelled": {"critic.q_networks": Q_NETWORKS_ALONE}}
    return override(Config(), found.get(recipe, {}))


def random_data(rng: np.random.Generator, obs: int = OBS, action: int = ACTION) -> dict[str, np.ndarray]:
    data = {
        "obs": rng.standard_normal((TRANSITIONS, obs)),
        "action": np.tanh(rng.standard_normal((TRANSITIONS, action))),
        "reward": rng.standard_normal(TRANSITIONS),
        "discount": np.full(TRANSITIONS, 0.99),
        "next_obs": rng.standard_normal((TRANSITIONS, obs)),
    }
    return {k: v.astype(np.float32) for k, v in data.items()}


def make_buffer(data: dict[str, np.ndarray], device: str, horizon: int = 1, mixed: bool = False) -> ChunkBuffer:
    """The same transitions in the package's own buffer, one endless episode; where mixed, a third is behaviour."""
    on = {k: torch.as_tensor(v, device=device) for k, v in data.items()}
    count = len(on["reward"])
    row = torch.arange(count, device=device)
    return ChunkBuffer(
        states=torch.cat([on["obs"], on["next_obs"]]),
        actions=on["action"],
        state=row,
        last=torch.full_like(row, count - 1),
        next=row + count,
        reward=on["reward"],
        discount=on["discount"],
        td_valid=torch.ones(count, device=device),
        horizon=horizon,
        behaviour=row[: count // 3] if mixed else None,
    )


def variants(
    cfg: Config, device: str, compile_too: bool, bf16: bool = False, task: str = "door"
) -> dict[str, Callable[[], Any]]:
    """Name -> one update, batch included.  The baseline has single actions only."""
    obs, action = SIZES[task]
    data = random_data(np.random.default_rng(0), obs, action)
    buffer = make_buffer(data, device, cfg.data.horizon, cfg.draws_behaviour)
    size = cfg.optim.batch_size

    def agent(compiled: bool = False, **settings: Any) -> DTQL:
        changed = {name.replace("__", "."): value for name, value in settings.items()}
        made = DTQL(override(cfg, changed), obs, action, 0.5, torch.device(device))
        if compiled:
            made.compile_losses()
        return made

    def updating(made: DTQL) -> Callable[[], Any]:
        return lambda: made.update(buffer.sample(size, made.generator))

    found: dict[str, Callable[[], Any]] = {}
    if cfg.data.horizon == 1:
        found["plain"] = PlainDTQL(cfg, data, 0.5, device).update
    found["eager"] = updating(agent())
    if cfg.critic.q_networks == Q_NETWORKS_ALONE:
        found["two Q networks"] = updating(agent(critic__q_networks=Config().critic.q_networks))
    if compile_too:
        found["compiled"] = updating(agent(compiled=True))
    if bf16:
        found["bf16"] = updating(agent(optim__precision="bf16"))
        if compile_too:
            found["compiled bf16"] = updating(agent(compiled=True, optim__precision="bf16"))
    if device == "cuda":
        for name in ("graph", "one stream"):
            graphed = agent(compiled=compile_too)
            found[name] = GraphedUpdate(graphed, functools.partial(buffer.sample, size, graphed.generator))
            if name == "one stream":
                graphed.side = InTurn()
    return found


def measure(
    found: dict[str, Callable[[], Any]], rounds: int, updates: int, clock: Callable[[], float], sync: Callable[[], Any]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds an update, round by round, and seconds of the first update of each."""
    first = {}
    for name, update in found.items():
        start = time.perf_counter()
        update()
        sync()
        first[name] = time.perf_counter() - start
        for _ in range(9):
            update()
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, update in found.items():
            sync()
            start = clock()
            for _ in range(updates):
                update()
            sync()
            seconds[name].append((clock() - start) / updates)
    return seconds, first


def summary(seconds: dict[str, list[float]], first: dict[str, float], base: str) -> dict[str, dict[str, float]]:
    """Per variant: milliseconds an update and how many times faster than `base`, each with its quartiles."""
    rows = {}
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        ratios = [b / v for b, v in zip(seconds[base], values, strict=True)]
        ratio_low, ratio, ratio_high = statistics.quantiles(ratios, n=4)
        rows[name] = {
            "ms": 1e3 * median,
            "ms_q25": 1e3 * low,
            "ms_q75": 1e3 * high,
            "ms_min": 1e3 * min(values),
            "times_faster": ratio,
            "times_faster_q25": ratio_low,
            "times_faster_q75": ratio_high,
            "first_update_s": first[name],
        }
    return rows


def print_table(rows: dict[str, dict[str, float]], base: str) -> None:
    print(f"{'':<14}{'ms/update':>10}{'quartiles':>18}{'x ' + base:>10}{'quartiles':>16}{'first':>9}")
    for name, r in rows.items():
        spread, ratio = f"{r['ms_q25']:.2f} to {r['ms_q75']:.2f}", f"{r['times_faster_q25']:.2f} to "
        ratio += f"{r['times_faster_q75']:.2f}"
        shown = f"{name:<14}{r['ms']:>10.2f}{spread:>18}{r['times_faster']:>10.2f}{ratio:>18}"
        print(f"{shown}{r['first_update_s']:>8.1f}s")


def machine(device: str) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--recipe", choices=["paper", "default", "mixed", "unlabelled"], default="paper")
    parser.add_argument("--task", choices=list(SIZES), default="door")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sync = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    cfg = settings_of(options.recipe)
    found = variants(cfg, options.device, not options.no_compile, options.bf16, options.task)
    seconds, first = measure(found, options.rounds, options.updates, CLOCKS[options.clock], sync)
    base = next(iter(found))
    rows = summary(seconds, first, base)
    about = {
        **machine(options.device),
        "recipe": options.recipe,
        "task": options.task,
        "clock": options.clock,
        "rounds": options.rounds,
        "updates": options.updates,
    }
    print(", ".join(f"{k}: {v}" for k, v in about.items()))
    print_table(rows, base)
    if options.json:
        options.json.write_text(json.dumps({**about, "variants": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
