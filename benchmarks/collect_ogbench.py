"""How fast are OGBench's oracles recorded, beside the simulation alone?

python -m benchmarks.collect_ogbench cube-double --rounds 6

Each round records an episode as `dtql-robot collect ogbench:...` does in one process, and then steps the same
environment through the same actions, without oracle and recording.  Times are of the process's CPU, in alternation, so
that other work on the machine touches both alike.
"""

from __future__ import annotations

import argparse
import statistics
import time

from dtql_robot.envs.collection.oracle_collector import OracleCollector
from dtql_robot.envs.collection.oracle_plan import OraclePlan
from dtql_robot.envs.global_rng import global_seed
from dtql_robot.types import Array


def seconds_alone(collector: OracleCollector, actions: Array, seed: int) -> float:
    """Seconds that the simulation takes for these actions, from the same start."""
    env = collector._env
    with global_seed(seed):
        start = time.process_time()
        env.reset(seed=seed)
        for action in actions:
            env.step(action)
        return time.process_time() - start


def main() -> None:
    """Print steps per second of both, and the share of each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", nargs="?", default="cube-single")
    parser.add_argument("--kind", choices=("play", "noisy"), default="play")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    plan = OraclePlan(f"ogbench:{options.scene}-v0", options.kind, options.rounds, steps=options.steps)
    collector = OracleCollector(plan)
    collector.episode(options.rounds)  # what is done once only
    recorded, alone = [], []
    for index in range(options.rounds):
        start = time.process_time()
        episode = collector.episode(index)
        recorded.append(time.process_time() - start)
        alone.append(seconds_alone(collector, episode.actions, episode.attrs["seed"]))
    shares = [b / a for a, b in zip(recorded, alone, strict=True)]
    rates = [options.steps / statistics.median(times) for times in (recorded, alone)]
    print(f"{options.scene} {options.kind}: {rates[0]:.0f} steps/s recorded, {rates[1]:.0f} simulated alone")
    print(f"share {statistics.median(shares):.3f} ({min(shares):.3f} to {max(shares):.3f} in {len(shares)} rounds)")


if __name__ == "__main__":
    main()
