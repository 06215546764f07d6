"""The kept results of `dtql-robot bench` as one page: `python benchmarks/bench_results.py` writes docs/bench.md and its
figure from benchmarks/results/bench_*.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dtql_robot.config import Config
from dtql_robot.experiments.suites import METHODS, SUITES
from dtql_robot.experiments.table import draw, gather, markdown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE, FIGURE = ROOT / "docs" / "bench.md", ROOT / "docs" / "bench.png"

TEXT = """\
# Benchmark

This page compares version 0.1.0's default recipe (`dtql`) with baselines made of the same parts, with the same
settings for all tasks, at the last checkpoint. Results of the current default are in [recipe.md](recipe.md). The
table comes from `dtql-robot bench manipulation --files door-human=door-v0_demos_clipped.hdf5 lift=low_dim.hdf5`,
evaluated on start states that are in no demonstration. We report the mean over training seeds; its 95% interval is
the wider of Student's over seeds and Wilson's over all episodes. The config of each run and the outcome of each
episode are in [benchmarks/results](https://github.com/dtql-robot/dtql-robot/tree/main/benchmarks/results), from which
`python benchmarks/bench_results.py` writes this page. Training used one CPU core. The runs were made on several
machines, some of which shared their cores with other work, so times are orders of magnitude only.

`mse-bc`: squared error only. `diffusion-bc`: the denoiser, sampled in 12 Heun steps. `tr-only`: the trust region
only. `kl`: section 3 of the paper instead, with an implicit policy. `iql`: advantage-weighted regression. All of them
learn from all episodes, and predict and execute chunks as the default does{but}. `kl` acted by samples, although its
regularizer had seen only the mean; today it is trained on samples.

![Success rates](bench.png)

{table}"""


def records() -> list[dict[str, Any]]:
    """Tasks in the order of the suite, methods in that of `METHODS`."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("bench_*.json"))]
    tasks, methods = [task.name for task in SUITES["manipulation"]], list(METHODS)
    return sorted(found, key=lambda r: (tasks.index(r["task"]), methods.index(r["method"])))


def exceptions() -> str:
    """The rows that execute their chunks as an earlier default did."""
    now = Config().data.n_action_steps
    former: dict[int, dict[str, None]] = {}
    for record in records():
        steps = record["run"]["config"]["data"]["n_action_steps"]
        if steps != now:
            former.setdefault(steps, {})[f"{record['task']} {record['method']}"] = None
    return "".join(f", but these execute {n} actions, as was the default: {', '.join(f)}" for n, f in former.items())


def page() -> str:
    return TEXT.format(table=markdown(gather(records())), but=exceptions())


def main() -> None:
    PAGE.write_text(page())
    draw(gather(records()), FIGURE)
    print(f"{PAGE}\n{FIGURE}")


if __name__ == "__main__":
    main()
