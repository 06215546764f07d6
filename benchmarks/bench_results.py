"""The kept results of `dtql-robot bench` as one page: `python benchmarks/bench_results.py` writes docs/bench.md and its
figure from benchmarks/results/bench_*.json."""

from __future__ import annotations

import json
from pathlib import Path

from dtql_robot.eval.bench_table import Cell, draw, gather, markdown
from dtql_robot.suites import METHODS, SUITES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE, FIGURE = ROOT / "docs" / "bench.md", ROOT / "docs" / "bench.png"

TEXT = """\
# Benchmark

The default recipe (`dtql`) and the baselines made of the same parts, the same for all tasks, last checkpoint. Made by
`dtql-robot bench manipulation --files door-human=door-v0_demos_clipped.hdf5 lift=low_dim.hdf5`, evaluated in start
states that no demonstration has. The mean is over training seeds; its 95% interval is the wider of Student's over the
seeds and Wilson's over all episodes. Each run's config and the outcome of each episode are in
[benchmarks/results](../benchmarks/results). `python benchmarks/bench_results.py` makes this page from them.
Training is on one CPU core. The runs were made on several machines; those of the baselines on the door shared their
cores with other work and were paused, so times tell orders of magnitude only, and theirs are too long.

`mse-bc`: squared error alone. `diffusion-bc`: the denoiser, sampled in 12 Heun steps. `tr-only`: the trust region
alone. `kl`: the paper's section 3 in its place, with an implicit policy. `iql`: advantage-weighted regression. All
predict and execute chunks as the default does.

![Success rates](bench.png)

{table}"""


def cells() -> list[Cell]:
    """Tasks in the order of the suite, methods in that of `METHODS`."""
    records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("bench_*.json"))]
    tasks, methods = [task.name for task in SUITES["manipulation"]], list(METHODS)
    return gather(sorted(records, key=lambda r: (tasks.index(r["task"]), methods.index(r["method"]))))


def page() -> str:
    return TEXT.format(table=markdown(cells()))


def main() -> None:
    PAGE.write_text(page())
    draw(cells(), FIGURE)
    print(f"{PAGE}\n{FIGURE}")


if __name__ == "__main__":
    main()
