"""Do recordings of cubes have the distribution of those that OGBench's authors describe?

python -m benchmarks.ogbench_distribution cube-single-play-v0.npz --recordings 20

Compares a file of `dtql-robot collect ogbench:cube-...` with recordings of a plain loop, with seeds of its own, in
tests/helpers/plain_ogbench.py: moments of the actions, where they end in bounds, how many targets the oracle gets and
reaches.  A recording is one observation; differences are in standard errors.  Ends with 1 where one is above --most.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from dtql_robot.datasets import load
from dtql_robot.types import Array, Demonstrations
from tests.helpers.plain_ogbench import record_cubes

ENTRIES = ("x", "y", "z", "yaw", "gripper")


def statistics(actions: Array, targets: int, reached: int) -> dict[str, float]:
    """Of one recording.  actions: (T, 5)."""
    found = {f"mean {n}": float(v) for n, v in zip(ENTRIES, actions.mean(axis=0), strict=True)}
    found |= {f"std {n}": float(v) for n, v in zip(ENTRIES, actions.std(axis=0), strict=True)}
    found |= {f"at bound {n}": float(v) for n, v in zip(ENTRIES, (np.abs(actions) == 1).mean(axis=0), strict=True)}
    return found | {"targets": float(targets), "share reached": reached / targets}


def recorded(demos: Demonstrations) -> list[dict[str, float]]:
    """The statistics of each recording of a file."""
    return [statistics(e.actions, e.attrs["targets"], e.attrs["targets_reached"]) for e in demos.episodes]


def reference(size: str, kind: str, steps: int, count: int) -> list[dict[str, float]]:
    """The statistics of `count` recordings of the plain loop, of `steps` steps each."""
    made = (record_cubes(size, kind, steps + 1, seed=1_000_000 + i) for i in range(count))
    return [statistics(rows.actions[:-1], rows.targets, rows.reached) for rows in made]


def compare(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> list[tuple[str, float, float, float]]:
    """(what, our mean, theirs, the difference in standard errors) of each statistic."""
    rows = []
    for name in ours[0]:
        a, b = (np.array([found[name] for found in group]) for group in (ours, theirs))
        error = np.hypot(a.std(ddof=1) / np.sqrt(len(a)), b.std(ddof=1) / np.sqrt(len(b)))
        difference = float(a.mean() - b.mean())
        rows.append((name, float(a.mean()), float(b.mean()), difference / error if error else 0.0))
    return rows


def main() -> int:
    """Print the comparison; 1 where a difference is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--recordings", type=int, default=20, help="recordings of the plain loop")
    parser.add_argument("--most", type=float, default=4.0, help="standard errors")
    options = parser.parse_args()
    demos = load(options.file)
    plan = demos.attrs["collection"]
    lengths = {len(e) for e in demos.episodes}
    print(f"{len(demos)} recordings of {lengths} steps, {plan['kind']}; {options.recordings} of the plain loop")
    size = plan["task"].split("-")[1]
    rows = compare(recorded(demos), reference(size, plan["kind"], plan["steps"], options.recordings))
    for name, ours, theirs, off in rows:
        print(f"{name:18} {ours:9.4f} {theirs:9.4f} {off:+6.2f}")
    worst = max(abs(off) for *_, off in rows)
    print(f"largest difference: {worst:.2f} standard errors")
    return int(worst > options.most or lengths != {plan["steps"]})


if __name__ == "__main__":
    sys.exit(main())
