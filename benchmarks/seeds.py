"""Several seeds at once against one after the other: `python benchmarks/seeds.py [--seeds 8] [--threads 2]`.

The default recipe at the sizes of the Adroit door (observation 39, action 28, chunks of 8, batch 128) or, with --paper,
the paper's settings with single actions and batch 256.  In one process and in turn, each round: `--updates` updates of
every seed one after the other, then of all of them as one ensemble, and on a CPU of an ensemble a thread, which is what
`train --seeds` does there.  Shown: milliseconds for one update of all seeds, median over rounds with quartiles, and how
many times faster than in turn, round by round.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from update_speed import ACTION, CLOCKS, OBS, machine, make_buffer, measure, paper, print_table, random_data, summary

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.config import Config
from dtql_robot.training.cuda_graph import GraphedUpdate
from dtql_robot.training.ensemble import Ensemble, ParallelEnsembles


def variants(cfg: Config, count: int, device: str, compiled: bool, graph: bool) -> dict[str, Callable[[], Any]]:
    buffer = make_buffer(random_data(np.random.default_rng(0)), device, cfg.data.horizon)
    size = cfg.optim.batch_size

    def agents() -> list[DTQL]:
        seeds = (dataclasses.replace(cfg, seed=s) for s in range(count))
        return [DTQL(c, OBS, ACTION, 0.5, torch.device(device)) for c in seeds]

    def updating(learner: DTQL | ParallelEnsembles) -> Callable[[], Any]:
        def sample() -> Any:
            if isinstance(learner, DTQL):
                return buffer.sample(size, learner.generator)
            return buffer.sample_each(size, learner.generators)

        if compiled:
            learner.compile_losses()
        if graph and not isinstance(learner, ParallelEnsembles):
            return GraphedUpdate(learner, sample)
        return lambda: learner.update(sample())

    one_by_one, count_at = [updating(a) for a in agents()], torch.get_num_threads()
    found = {"in turn": lambda: [update() for update in one_by_one], "at once": updating(Ensemble(agents()))}
    if device == "cpu" and math.gcd(count, count_at) > 1:
        found["in parallel"] = updating(ParallelEnsembles(agents()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cuda = options.device == "cuda"
    cfg = paper() if options.paper else Config()
    found = variants(cfg, options.seeds, options.device, options.compile, graph=cuda)
    sync = torch.cuda.synchronize if cuda else lambda: None
    seconds, first = measure(found, options.rounds, options.updates, CLOCKS[options.clock], sync)
    rows = summary(seconds, first, "in turn")
    shown = ("seeds", "clock", "rounds", "updates", "paper", "compile")
    about = {**machine(options.device), **{k: getattr(options, k) for k in shown}}
    print(", ".join(f"{k}: {v}" for k, v in about.items()))
    print_table(rows, "in turn")
    if options.json:
        options.json.write_text(json.dumps({**about, "variants": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
