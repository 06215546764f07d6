"""What evaluation costs beyond simulation: its steps per second against those of the raw environments.

    python benchmarks/eval_throughput.py [--envs 2] [--rounds 5] [--only lift fetch] [--decide here] [--json out.json]

Raw: as many processes, each stepping the simulator's own environment (gymnasium.make, robosuite.make) with actions
known beforehand.  Evaluation: `run_episodes` with the default policy (random weights) in worker processes, with a copy
of the policy in each.  Both play the same episodes with the same actions, so that the physics cost the same, and both
reset between them.  They take turns, round by round; the ratio is the median over the rounds.  Target: 0.85.
The ratio of processor time (all processes, this one among them) is what remains of it on a machine that has other work.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.config import Config
from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.seeding import evaluation_seed
from dtql_robot.eval.pools.chunked_env import EnvServer
from dtql_robot.eval.pools.env_pool import LocalPool, suitable_envs
from dtql_robot.eval.pools.process_pool import ProcessPool
from dtql_robot.eval.rollout import run_episodes
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.normalize import identity
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.system.workers import Worker, cpu_count
from dtql_robot.training.chunk_weights import even_weights

TARGET = 0.85


@dataclass(frozen=True)
class Case:
    """spec: the environment.  steps: of an episode.  episodes: of a round, for each process."""

    spec: str
    steps: int
    episodes: int


CASES = {
    "adroit": Case("AdroitHandDoor-v1", 200, 50),
    "fetch": Case("FetchPickAndPlace-v4", 50, 50),
    "kitchen": Case("FrankaKitchen-v1", 70, 8),
    "lift": Case("robosuite:Lift", 40, 4),
}


class RawEnv:
    """The simulator's own environment in a worker process."""

    def __init__(self, spec: str, steps: int) -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            self._env: Any = _raw_robosuite(spec) if spec.startswith("robosuite:") else _raw_gymnasium(spec, steps)
        self._is_robosuite = spec.startswith("robosuite:")

    def play(self, episodes: Sequence[tuple[int, np.ndarray]]) -> int:
        """Play (seed, actions (T, A)) one after the other; returns the steps taken."""
        for seed, actions in episodes:
            if self._is_robosuite:
                np.random.seed(seed % 2**32)
                self._env.reset()
            else:
                self._env.reset(seed=seed)
            for action in actions:
                self._env.step(action)
        return sum(len(actions) for _, actions in episodes)


def _raw_gymnasium(spec: str, steps: int) -> Any:
    import gymnasium
    import gymnasium_robotics

    gymnasium.register_envs(gymnasium_robotics)
    return gymnasium.make(spec, max_episode_steps=steps, disable_env_checker=True)


def _raw_robosuite(spec: str) -> Any:
    import robosuite

    return robosuite.make(
        spec.removeprefix("robosuite:"),
        robots="Panda",
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        hard_reset=False,
        ignore_done=True,
        renderer="mujoco",
    )


def make_policy(facts: EnvInfo) -> OneStepPolicy:
    """The default policy with random weights, for all observations of the environment."""
    keys = tuple(facts.obs_shapes)
    size = sum(int(np.prod(facts.obs_shapes[key])) for key in keys)
    face = Interface(
        keys,
        tuple(facts.obs_shapes[key] for key in keys),
        identity(size),
        identity(facts.action_dim),
        facts.action_dim,
        0.5,
        chunk_weights=even_weights(Config().data.horizon),
    )
    return OneStepPolicy(DTQL(Config(), size, facts.action_dim, 0.5, torch.device("cpu")), face)


class Recorder(EnvServer):
    """Keeps the actions of each episode."""

    def reset(self, seed: int) -> dict[str, Any]:
        self.actions: list[np.ndarray] = []
        return super().reset(seed)

    def run_chunk(self, actions: np.ndarray) -> Any:
        result = super().run_chunk(actions)
        self.actions += [np.clip(a, -1, 1) for a in actions[: len(result.rewards)]]
        return result


def record(case: Case, policy: OneStepPolicy | None, seeds: Sequence[int]) -> tuple[Any, EnvInfo, list[np.ndarray]]:
    """(the policy, the environment's facts, the actions of the policy in each episode)."""
    server = Recorder(case.spec, case.steps)
    with contextlib.closing(LocalPool([server])) as pool:
        facts = pool.facts()
        policy = policy or make_policy(facts)
        actions = []
        for seed in seeds:
            run_episodes(policy, pool, 1, [seed], facts)
            actions.append(np.stack(server.actions))
    return policy, facts, actions


def measure(case: Case, num_envs: int, rounds: int, here: bool) -> dict[str, Any]:
    """Steps per second of both, round by round.  here: the policy decides in this process."""
    seeds = [evaluation_seed(0, i) for i in range(case.episodes * num_envs)]
    policy, facts, actions = record(case, None, seeds)
    plays = [list(zip(seeds, actions, strict=True))[i::num_envs] for i in range(num_envs)]
    steps = sum(len(a) for a in actions)
    columns: list[list[float]] = [[], [], [], []]
    raw, evaluation, cpu_raw, cpu_evaluation = columns
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(contextlib.closing(Worker("eval_throughput:RawEnv", case.spec, case.steps)))
            for _ in range(num_envs)
        ]
        making = ProcessPool(
            len(seeds), case.spec, case.steps, processes=num_envs, policy=None if here else policy.portable()
        )
        pool = stack.enter_context(contextlib.closing(making))
        seconds = pool.step_seconds() * policy.n_action_steps
        at_once = suitable_envs(len(seeds), seconds, num_envs, acts=not here)
        for turn in range(rounds + 1):
            cpu = _cpu_seconds(workers)
            raw.append(steps / _time_raw(workers, plays))
            cpu_raw.append(_cpu_seconds(workers) - cpu)
            cpu, start = _cpu_seconds(pool.workers), time.perf_counter()
            results, _ = run_episodes(policy, pool, at_once, seeds, facts)
            evaluation.append(steps / (time.perf_counter() - start))
            cpu_evaluation.append(_cpu_seconds(pool.workers) - cpu)
            assert sum(r.length for r in results) == steps
            if turn == 0:  # both warm
                for column in columns:
                    column.clear()
    ratios = [e / r for e, r in zip(evaluation, raw, strict=True)]
    return {
        "env": case.spec,
        "processes": num_envs,
        "policy": "here" if here else "workers",
        "environments": at_once,
        "raw_steps_per_s": float(np.median(raw)),
        "eval_steps_per_s": float(np.median(evaluation)),
        "ratio": float(np.median(ratios)),
        "ratios": ratios,
        "cpu_ratio": float(np.median([r / e for r, e in zip(cpu_raw, cpu_evaluation, strict=True)])),
        "steps_per_round": steps,
    }


def _cpu_seconds(workers: Sequence[Worker]) -> float:
    """Processor time of this process and the workers so far (Linux)."""
    total = time.process_time()
    for worker in workers:
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _time_raw(workers: Sequence[Worker], plays: Sequence[Any]) -> float:
    start = time.perf_counter()
    for worker, episodes in zip(workers, plays, strict=True):
        worker.send("play", episodes)
    for worker in workers:
        worker.recv()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=cpu_count(), help="processes; default: one per core")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument(
        "--decide",
        choices=["workers", "here"],
        default="workers",
        help="where the policy is: a copy in each worker (default), or in this process, as on a GPU",
    )
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print(f"{'environment':<24}{'raw steps/s':>12}{'evaluation':>12}{'ratio':>8}{'of CPU':>8}  rounds")
    for name in arguments.only:
        if name == "lift" and importlib.util.find_spec("robosuite") is None:
            print(f"{CASES[name].spec:<24}robosuite is not installed")
            continue
        row = measure(CASES[name], arguments.envs, arguments.rounds, arguments.decide == "here")
        rows.append(row)
        spread = " ".join(f"{ratio:.2f}" for ratio in row["ratios"])
        print(
            f"{row['env']:<24}{row['raw_steps_per_s']:>12.0f}{row['eval_steps_per_s']:>12.0f}"
            f"{row['ratio']:>8.2f}{row['cpu_ratio']:>8.2f}  {spread}",
            flush=True,
        )
    if rows:
        worst = min(row["ratio"] for row in rows)
        print(f"lowest ratio {worst:.2f}, target {TARGET}: {'met' if worst >= TARGET else 'missed'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
