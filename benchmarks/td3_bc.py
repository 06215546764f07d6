"""TD3+BC (Fujimoto and Gu, arXiv 2106.06860) beside the methods of `dtql-robot bench`, by its published settings.

    dtql-robot bench locomotion --out runs/locomotion
    python benchmarks/td3_bc.py runs/locomotion --venvs ~/venvs --install
    dtql-robot bench locomotion --out runs/locomotion     # nothing is left to do: td3-bc joins the tables

d3rlpy trains it, in an environment of its own below --venvs, which --install makes (learners/of_d3rlpy.py has the
settings).  On every task and training seed of the bench it learns from the same file with the same rewards and ends of
episodes, as many updates as the other methods have without their pretraining, of 256 samples each, and plays the same
episodes in this package's evaluator; the policy of the last update counts.  It acts in a process of its own, and the
time of a decision includes the way there and back.  --curve-points as in `bench`: the policies after equal numbers of
updates play the episodes that `bench` keeps for evaluations during training.

Prints the normalized score, and writes BENCH/results/TASK-td3-bc-seedN.json.  What is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "learners")]
from common import Flat  # noqa: E402
from environments import RECIPES, install, python_of  # noqa: E402
from pipe import PipedPolicy  # noqa: E402

from dtql_robot import Demonstrations, evaluate  # noqa: E402
from dtql_robot.api.demonstrations import take  # noqa: E402
from dtql_robot.config import Config  # noqa: E402
from dtql_robot.env_record import EnvChoice  # noqa: E402
from dtql_robot.errors import InputError  # noqa: E402
from dtql_robot.eval.result import EvalResult  # noqa: E402
from dtql_robot.experiments.records import CURVE, KEPT, compact  # noqa: E402
from dtql_robot.run_folder import read_config, read_results  # noqa: E402
from dtql_robot.system.files import write_json  # noqa: E402
from dtql_robot.training.buffer import episode_rewards  # noqa: E402

METHOD, PACKAGE = "td3-bc", "d3rlpy"


@dataclass(frozen=True)
class Partner:
    """A finished run of the bench, with which a training of TD3+BC shares its task.

    settings, results: its config.json and results.json.
    """

    task: str
    seed: int
    settings: dict[str, Any]
    results: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.task}-{METHOD}-seed{self.seed}"


def partners(bench: Path, tasks: list[str] | None, seeds: list[int] | None) -> Iterator[Partner]:
    """One of each task and seed that has been evaluated there, of whichever method."""
    seen = set()
    for folder in sorted(bench.glob("runs/*/*/seed*")):
        task, seed = folder.parts[-3], int(folder.name.removeprefix("seed"))
        wanted = task in (tasks or [task]) and seed in (seeds or [seed])
        if not wanted or (task, seed) in seen:
            continue
        try:
            found = Partner(task, seed, dict(read_config(folder)), read_results(folder))
        except InputError:  # it was not finished
            continue
        seen.add((task, seed))
        yield found


def flatten(demos: Demonstrations, data: dict[str, Any]) -> Flat:
    """All steps, one after the other, with the rewards that the partner's settings make of them."""
    episodes = demos.episodes
    last = [np.arange(len(e)) == len(e) - 1 for e in episodes]
    over = [e.terminated or (data["reward"] == "success" and e.ends_in_success) for e in episodes]
    rewards = [data["reward_scale"] * episode_rewards(e, data["reward"]) + data["reward_shift"] for e in episodes]
    rows = [np.concatenate([e.obs[k].reshape(len(e), -1) for k in data["obs_keys"]], 1) for e in episodes]
    if max(np.abs(e.actions).max() for e in episodes) > 1:
        raise InputError(f"{demos.source} has actions beyond [-1, 1], the only ones that this TD3+BC gives")
    return Flat(
        obs=np.concatenate(rows).astype("f4"),
        action=np.concatenate([e.actions for e in episodes]).astype("f4"),
        reward=np.concatenate(rewards).astype("f4"),
        done=np.concatenate([ends & final for ends, final in zip(over, last, strict=True)]),
        last=np.concatenate(last),
    )


def perform(partner: Partner, options: argparse.Namespace) -> dict[str, Any]:
    """Train, evaluate, and tell what came of it, as `records.record` tells it of other runs."""
    folder = options.bench / METHOD / partner.name
    folder.mkdir(parents=True, exist_ok=True)
    config = partner.settings["config"]
    demos = take(partner.settings["data"], Config.from_dict(config)).demos
    np.savez(folder / "data.npz", **flatten(demos, config["data"])._asdict())
    updates = options.steps or config["steps"]
    words = [str(python_of(options.venvs, PACKAGE)), str(HERE / f"learners/of_{PACKAGE}.py")]
    shared = ["--out", str(folder), "--threads", str(options.threads)]
    told = ["--kind", METHOD, "--data", str(folder / "data.npz"), "--seed", str(partner.seed)]
    told += ["--updates", str(updates), "--stages", str(options.curve_points or 1)]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with open(folder / "learner.log", "w") as log:
        if subprocess.run([*words, "train", *told, *shared], env=env, stdout=log, stderr=log).returncode:
            said = Path(log.name).read_text().splitlines() or ["nothing was said"]
            raise RuntimeError(f"{said[-1]} ({log.name})")

        def judge(*stage: str, **settings: Any) -> EvalResult:
            policy = PipedPolicy([*words, "act", *shared, *stage], config["data"]["obs_keys"], env, log)
            policy.recorded_env = EnvChoice(partner.results["env"], partner.settings["env_args"], source=partner.name)
            policy.reference_scores = partner.settings["reference_scores"]
            try:
                return evaluate(policy, num_envs=1, where="in-process", progress=False, **settings)
            finally:
                policy.close()

        result = judge(episodes=options.episodes or partner.results["episodes"])
        each = updates // (options.curve_points or 1)
        curve = []
        for stage in range(each, updates + 1, each) if options.curve_points else ():
            seen = judge("--stage", str(stage), episodes=options.eval_episodes, while_training=True)
            curve.append([stage, seen.success_rate, seen.mean_return, seen.normalized_score])
    trained = json.loads((folder / "trained.json").read_text())
    return {
        "task": partner.task,
        "method": METHOD,
        "train_seconds": trained["seconds"],
        "results": compact(result.to_dict()),
        "run": {
            "config": {"seed": partner.seed, "steps": trained["updates"], "data": config["data"]},
            **{name: partner.settings[name] for name in ("env", "env_args")},
            "data": Path(partner.settings["data"]).name,
            "environment": RECIPES[PACKAGE],
        },
        **({"curve": {"columns": list(CURVE), "rows": curve}} if curve else {}),
    }


def in_a_line(record: dict[str, Any]) -> str:
    """What came of a run."""
    results = record["results"]
    score, success = results.get("normalized_score"), results["success_rate"]
    found = [f"return {results['mean_return']:.1f}"]
    found += [] if score is None else [f"normalized score {score:.1f}"]
    found += [] if success is None else [f"success {success:.2f}"]
    trained = f"{record['run']['config']['steps']} updates in {record['train_seconds']:.0f} s"
    name = f"{record['task']}-{METHOD}-seed{record['run']['config']['seed']}"
    return f"{name}: {trained}; {', '.join(found)} ({results['episodes']} episodes)"


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "bench", type=Path, help="what `dtql-robot bench --out` wrote, with one method or more finished"
    )
    parser.add_argument("--venvs", type=Path, required=True, help="folder of the other packages' environments")
    parser.add_argument("--install", action="store_true", help="make d3rlpy's if it is missing")
    parser.add_argument("--tasks", nargs="+", help="default: all that are there")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: all that are there")
    parser.add_argument("--steps", type=int, help="updates; default: as many as the others have")
    parser.add_argument("--episodes", type=int, help="default: as many as the others played")
    parser.add_argument("--curve-points", type=int, help="evaluations of policies from before the end")
    parser.add_argument("--eval-episodes", type=int, default=20, help="of each of those")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    options = read_options()
    if options.install and (said := install(options.venvs, PACKAGE)):
        raise SystemExit(said)
    if not python_of(options.venvs, PACKAGE).exists():
        raise SystemExit(f"there is no environment {options.venvs / PACKAGE}; make it with --install")
    found = list(partners(options.bench, options.tasks, options.seeds))
    if not found:
        raise SystemExit(
            f"{options.bench}/runs has no finished run of these tasks and seeds; run `dtql-robot bench` first"
        )
    (options.bench / KEPT).mkdir(exist_ok=True)
    failed = []
    for partner in found:
        path = options.bench / KEPT / f"{partner.name}.json"
        try:
            if not path.exists():
                write_json(path, perform(partner, options))
            print(in_a_line(json.loads(path.read_text())), flush=True)
        except (InputError, RuntimeError) as error:
            failed.append(f"{partner.name} failed: {error}")
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
