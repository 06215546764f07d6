"""The kept results of `dtql-robot bench` as one page: `python benchmarks/bench_results.py` writes docs/bench.md and its
figure from benchmarks/results/bench_*_seed*.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dtql_robot.experiments.methods import METHODS
from dtql_robot.experiments.suites import SUITES
from dtql_robot.experiments.table import draw, gather, markdown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE, FIGURE = ROOT / "docs" / "bench.md", ROOT / "docs" / "bench.png"

TEXT = """\
# Benchmark

This page compares the default recipe (`dtql`) with what the same parts make otherwise, with the same settings for all
tasks, 6,000 updates, at the last checkpoint, evaluated on start states that are in no demonstration. `dtql-robot bench
manipulation --files door-human=door-v0_demos_clipped.hdf5 lift=low_dim.hdf5` and `dtql-robot bench mixed --files
door-more=door_more.hdf5` make such a table. We report the mean over training seeds; its 95% interval is the wider of
Student's over seeds and Wilson's over all episodes. The config of each run and the outcome of each episode are in
[benchmarks/results](https://github.com/dtql-robot/dtql-robot/tree/main/benchmarks/results), from which `python
benchmarks/bench_results.py` writes this page.

The three seeds of a row were trained together (`train --seeds 0 1 2`), as one CUDA graph on an NVIDIA H200 that eleven
such trainings shared; the time of training is that of all three beside the others. `mse-bc` and `iql` of
pick-and-place-mixed-unlabelled were trained on one CPU core. Evaluated on CPUs, beside other work. More results on one
CPU core are in [recipe.md](recipe.md); they differ by as much as training seeds do.

- `no-q`: the default without what moves the policy along Q.
- `mse-bc`: squared error only, on all episodes; `mse-bc-successes`: on the episodes that the default calls behaviour.
- `diffusion-bc`: the denoiser of all episodes, sampled in 12 Heun steps. `tr-only`: the trust region only.
- `iql`: advantage-weighted regression, the weights of IQL's critics.

All predict and execute chunks as the default does.

![Success rates](bench.png)

{table}"""


def records() -> list[dict[str, Any]]:
    """Tasks in the order of the suites, methods in that of `METHODS`."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("bench_*_seed*.json"))]
    names = dict.fromkeys(task.name for suite in ("manipulation", "mixed") for task in SUITES[suite])
    tasks, methods = list(names), list(METHODS)
    return sorted(found, key=lambda r: (tasks.index(r["task"]), methods.index(r["method"])))


def page() -> str:
    return TEXT.format(table=markdown(gather(records())))


def main() -> None:
    PAGE.write_text(page())
    draw(gather(records()), FIGURE)
    print(f"{PAGE}\n{FIGURE}")


if __name__ == "__main__":
    main()
