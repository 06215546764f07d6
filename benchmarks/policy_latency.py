"""How long one decision of the policy takes, on one core at batch 1: from an observation to a chunk of actions.

    python benchmarks/policy_latency.py [--run runs/pick] [--seconds 3] [--json out.json]

Without --run the networks have their default size and random weights, for FetchPickAndPlace's observations (31 entries)
and a chunk of 8 actions.  Variants take turns in one process, so that the machine's other work meets all of them alike:
    policy       `load_policy(run).predict`, what evaluation uses
    eager        the same function as one torch module
    torchscript  the exported TorchScript file
    onnx         the exported ONNX file in ONNX Runtime (skipped where it is not installed)
each choosing the mean, and the best of 32 and of 1024 candidates (the paper's number) by the critic.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.checkpoint import load_policy
from dtql_robot.config import Config, PolicyConfig
from dtql_robot.policy.export import DeployedPolicy, draw_inputs, export_policy
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.normalize import identity
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.training.chunk_weights import even_weights

TARGET_MS = 0.2
BLOCK = 25  # decisions in a turn
WARM_UP = 30


def default_policy() -> OneStepPolicy:
    """Networks of the default size with random weights."""
    shapes = {"observation": (25,), "achieved_goal": (3,), "desired_goal": (3,)}
    face = Interface(
        tuple(shapes),
        tuple(shapes.values()),
        identity(31),
        identity(4),
        4,
        0.5,
        chunk_weights=even_weights(Config().data.horizon),
    )
    return OneStepPolicy(DTQL(Config(policy=PolicyConfig(nll="tanh")), 31, 4, 0.5, torch.device("cpu")), face)


def acting(policy: OneStepPolicy, act: str, candidates: int) -> None:
    """Let the policy act so from now on."""
    policy.set_act(act, candidates)  # type: ignore[arg-type]


def make_variants(policy: OneStepPolicy, act: str, candidates: int, folder: Path) -> dict[str, Callable[[], Any]]:
    """Name -> a call that makes one decision, all from the same observation, noise drawn afresh as in deployment."""
    acting(policy, act, candidates)
    obs = {
        key: np.zeros((1, *shape), np.float32)
        for key, shape in zip(policy.interface.obs_keys, policy.interface.obs_shapes, strict=True)
    }
    rng = np.random.default_rng(0)
    module = DeployedPolicy(policy).eval()
    script = torch.jit.load(str(export_policy(policy, folder / f"{act}{candidates}.pt", "torchscript")))

    def drawn() -> list[Any]:
        return draw_inputs(policy, obs, rng, act)

    def predict() -> Any:
        acting(policy, act, candidates)
        return policy.predict(obs, [rng])

    def run_torch(function: Callable[..., Any]) -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode():
                return function(*(torch.from_numpy(x) for x in drawn())).numpy()

        return call

    variants = {"policy": predict, "eager": run_torch(module), "torchscript": run_torch(script)}
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return variants
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = export_policy(policy, folder / f"{act}{candidates}.onnx", "onnx")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]

    def run_onnx() -> Any:
        acting(policy, act, candidates)
        return session.run(None, dict(zip(names, drawn(), strict=True)))[0]

    return {**variants, "onnx": run_onnx}


def measure(variants: dict[str, Callable[[], Any]], seconds: float) -> dict[str, np.ndarray]:
    """Name -> milliseconds of each decision.  The variants take turns."""
    for call in variants.values():
        for _ in range(WARM_UP):
            call()
    times: dict[str, list[float]] = {name: [] for name in variants}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, call in variants.items():
            for _ in range(BLOCK):
                start = time.perf_counter()
                call()
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: np.asarray(values) for name, values in times.items()}


def one_core() -> None:
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="run folder; default: networks of the default size")
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring for each way to act")
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    arguments = parser.parse_args()
    one_core()
    policy = load_policy(arguments.run) if arguments.run else default_policy()
    rows: list[dict[str, Any]] = []
    print(f"{'choice':<14}{'variant':<13}{'p50 ms':>9}{'p99 ms':>9}{'of policy':>11}{'n':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for label, act, candidates in (("mean", "mean", 1), ("best of 32", "best", 32), ("best of 1024", "best", 1024)):
            times = measure(make_variants(policy, act, candidates, Path(folder)), arguments.seconds)
            base = float(np.median(times["policy"]))
            for name, ms in times.items():
                p50, p99 = np.percentile(ms, [50, 99])
                rows.append({"choice": label, "variant": name, "p50_ms": p50, "p99_ms": p99, "n": len(ms)})
                print(f"{label:<14}{name:<13}{p50:>9.3f}{p99:>9.3f}{p50 / base:>10.2f}x{len(ms):>8}")
    single = [row["p50_ms"] for row in rows if (row["choice"], row["variant"]) == ("mean", "onnx")]
    if single:
        print(
            f"single forward pass in ONNX Runtime: p50 {single[0]:.3f} ms, target {TARGET_MS} ms: "
            f"{'met' if single[0] <= TARGET_MS else 'missed'}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
