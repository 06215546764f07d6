"""What a decision costs between simulator steps, where the caches are cold, and what it does to the steps that follow.

    python benchmarks/decision_between_steps.py [--env AdroitHandDoor-v1] [--rounds 5] [--json out.json]

One environment in this process, the default policy with random weights, `n_action_steps` actions a decision.  Rounds
with the policy in NumPy (`dtql_robot/policy/numpy_policy.py`), with the same network in torch, and with the same
actions but no decision take turns.  Microseconds: of a decision in a tight loop, of one between steps, and by how much
the steps of a chunk became slower than without decisions; medians over the rounds, and their ranges.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from eval_throughput import make_policy

from dtql_robot.eval.pools.chunked_env import EnvServer
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.types import Array, Obs

Decide = Callable[[Obs], Array]
STEPS = 200


def episode(server: EnvServer, decide: Decide) -> tuple[list[float], list[float], list[Array]]:
    """Seconds of each decision, seconds of each chunk of steps, and the chunks."""
    obs, deciding, stepping, chunks = server.reset(0), [], [], []
    done = False
    while not done:
        start = time.perf_counter()
        chunk = decide(obs)
        middle = time.perf_counter()
        result = server.run_chunk(chunk)
        stepping.append(time.perf_counter() - middle)
        deciding.append(middle - start)
        chunks.append(np.array(chunk))
        obs, done = result.obs, result.done
    return deciding, stepping, chunks


def tight(decide: Decide, obs: Obs) -> float:
    """Median seconds of a decision that follows the one before at once."""
    seconds = []
    for _ in range(500):
        start = time.perf_counter()
        decide(obs)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def measure(spec: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """numpy and torch -> quantity -> its value in each round."""
    server = EnvServer(spec, STEPS)
    policy = make_policy(server.facts())
    policies = {"numpy": policy, "torch": OneStepPolicy(policy.model, policy.interface, use_numpy=False)}
    n, rng = policy.n_action_steps, [np.random.default_rng(0)]

    def decide(obs: Obs) -> Array:
        return policy.predict({k: v[None] for k, v in obs.items()}, rng)[0, :n]

    def replay(_: Obs) -> Array:
        return next(recorded)

    chunks = episode(server, decide)[2]
    times: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds + 1):
        recorded = iter(chunks)
        known = float(np.mean(episode(server, replay)[1]))
        for name in ("numpy", "torch"):
            policy = policies[name]
            deciding, stepping, _ = episode(server, decide)
            row = {
                "tight_loop_us": 1e6 * tight(decide, server.reset(0)),
                "between_steps_us": 1e6 * float(np.mean(deciding)),
                "steps_slower_us": 1e6 * (float(np.mean(stepping)) - known),
            }
            for key, value in row.items() if turn else ():  # the first round warms up
                times.setdefault(name, {}).setdefault(key, []).append(value)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="AdroitHandDoor-v1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(arguments.env, arguments.rounds)
    print(f"{'':<8}{'tight loop':>18}{'between steps':>18}{'steps slower':>18}   (microseconds)")
    for name, columns in found.items():
        cells = (f"{np.median(v):.0f} ({min(v):.0f} to {max(v):.0f})" for v in columns.values())
        print(f"{name:<8}" + "".join(f"{cell:>18}" for cell in cells))
    if arguments.json:
        arguments.json.write_text(json.dumps({"env": arguments.env, "rounds": arguments.rounds, **found}, indent=1))


if __name__ == "__main__":
    main()
