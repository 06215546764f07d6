"""Success against seconds of training: `python benchmarks/time_to_success.py [--methods dtql mse-bc d3rlpy-bc ...]`.

This package's default recipe and its presets, and other packages in environments of their own, each with the settings
that it recommends, on the same demonstrations, threads and machine.  Every length is a run of its own, since a
learning rate that falls belongs to the length.  The time of training is from the first update to the last: starting,
importing, reading data, and the short trial with which some recipes choose their number of updates are not in it; what
they took is in the JSON as around_seconds.  Every policy then plays the same episodes in this package's evaluator:
others act in a process of their own, which is sent each observation (learners/pipe.py).

    python benchmarks/time_to_success.py --install --venvs ~/venvs                  # the other packages' environments
    python benchmarks/time_to_success.py --venvs ~/venvs --tasks pick --seconds 10,20,40,80 --seeds 0..2 --episodes 100

The others learn from all entries of the default recipe's observations in one vector, with its reward (-1 a step until
success) and with the last step of a solved episode as terminal.  Results are in OUT/results.json, written after every
run; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "learners")]
from common import Flat  # noqa: E402
from environments import RECIPES, install, python_of  # noqa: E402
from pipe import PipedPolicy  # noqa: E402
from update_speed import machine  # noqa: E402

from dtql_robot import Demonstrations, evaluate, load  # noqa: E402
from dtql_robot.eval.intervals import seeds_interval  # noqa: E402
from dtql_robot.presets import PRESETS  # noqa: E402
from dtql_robot.system.files import write_json  # noqa: E402
from dtql_robot.training.buffer import choose_obs_keys  # noqa: E402

TASKS = {
    "pick": ("FetchPickAndPlace-v4", "--episodes", "200"),
    "pick-mixed": ("FetchPickAndPlace-v4", "--episodes", "300", "--lapses", "0.7"),
    "lift": ("robosuite:Lift", "--episodes", "200"),
    "lift-mixed": ("robosuite:Lift", "--episodes", "300", "--lapses", "0.7"),
    "reach": ("FetchReach-v4", "--episodes", "20"),
}
"""Name -> arguments of `collect`."""

OTHERS = {
    "d3rlpy-bc": ("d3rlpy", "bc"),
    "d3rlpy-iql": ("d3rlpy", "iql"),
    "robomimic-bc": ("robomimic", "bc"),
    "lerobot-act": ("lerobot", "act"),
    "lerobot-diffusion": ("lerobot", "diffusion"),
    "lerobot-diffusion-small": ("lerobot", "diffusion-small"),
}
"""Method -> its environment and what it is called there.  All other methods are "dtql" or presets."""

STABLE = 0.95
"""The success rate that every seed must reach."""


@dataclass(frozen=True)
class Run:
    """One training and its evaluation."""

    task: str
    method: str
    seconds: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.task}-{self.method}-{self.seconds:g}s-seed{self.seed}"


class Data:
    """A task's demonstrations: the file, and for other packages the same as arrays."""

    def __init__(self, task: str, out: Path) -> None:
        self.file, self.flat = out / f"{task}.hdf5", out / f"{task}.npz"
        self.command = ["-m", "dtql_robot", "collect", *TASKS[task], "--out", str(self.file)]
        if not self.file.exists():
            subprocess.run([sys.executable, *self.command, "-q"], check=True, stdout=subprocess.DEVNULL)
        demos = load(self.file)
        self.keys, self.env, self.env_args = choose_obs_keys(demos, ()), demos.env_spec, dict(demos.env_args)
        np.savez(self.flat, **flatten(demos, self.keys)._asdict())


def flatten(demos: Demonstrations, keys: Sequence[str]) -> Flat:
    """All steps, one after the other, see `Flat`."""
    episodes = demos.episodes
    lasts = [np.arange(len(e)) == len(e) - 1 for e in episodes]
    success = [np.asarray(e.success, bool) for e in episodes]
    return Flat(
        obs=np.concatenate([np.concatenate([e.obs[k].reshape(len(e), -1) for k in keys], 1) for e in episodes]).astype(
            "f4"
        ),
        action=np.concatenate([e.actions for e in episodes]).astype("f4"),
        reward=np.concatenate(success).astype("f4") - 1,
        done=np.concatenate([s & last for s, last in zip(success, lasts, strict=True)]),
        last=np.concatenate(lasts),
    )


def program(method: str, venvs: Path | None) -> list[str]:
    """The interpreter and the script of a method's learner."""
    if method not in OTHERS:
        return [sys.executable, str(HERE / "learners/own.py")]
    assert venvs is not None
    name = OTHERS[method][0]
    return [str(python_of(venvs, name)), str(HERE / f"learners/of_{name}.py")]


def surroundings(method: str, threads: int) -> dict[str, str]:
    """Environment variables of a learner: the same threads for all; only this package's own finds its sources."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if method not in OTHERS:
        env["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return env


def perform(run: Run, data: Data, options: argparse.Namespace) -> dict[str, Any]:
    """Train, evaluate, and tell what came of it."""
    words, env = program(run.method, options.venvs), surroundings(run.method, options.threads)
    folder, threads = options.out / run.name, ["--threads", str(options.threads)]
    kind = OTHERS[run.method][1] if run.method in OTHERS else run.method
    told = [*words, "train", "--kind", kind, "--data", str(data.flat), "--file", str(data.file)]
    told += ["--keys", ",".join(data.keys), "--seconds", str(run.seconds), "--seed", str(run.seed)]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "learner.log", "w") as log:
        if subprocess.run([*told, *threads, "--out", str(folder)], env=env, stdout=log, stderr=log).returncode:
            said = Path(log.name).read_text().splitlines() or ["nothing was said"]
            raise RuntimeError(f"{run.name} failed: {said[-1]} ({log.name})")
        began = time.perf_counter()
        settings: dict[str, Any] = {"episodes": options.episodes, "progress": False}
        if run.method in OTHERS:
            policy = PipedPolicy([*words, "act", "--out", str(folder), *threads], data.keys, env, log)
            settings |= {"num_envs": 1, "where": "in-process", "env_args": data.env_args}
            try:
                result = evaluate(policy, data.env, **settings)
            finally:
                policy.close()
        else:
            result = evaluate(folder, **settings)
    found = json.loads((folder / "trained.json").read_text())
    kept = ("success_rate", "ci95", "episodes", "mean_time_to_success", "policy_hz", "horizon")
    scored = {k: v for k, v in result.to_dict().items() if k in kept}
    return {**vars(run), "trained": found, **scored, "evaluation_seconds": time.perf_counter() - began}


def missing(methods: Sequence[str], options: argparse.Namespace) -> dict[str, str]:
    """Method -> why it cannot run, in a line."""
    found = {}
    for method in methods:
        if method not in OTHERS:
            continue
        name = OTHERS[method][0]
        if options.venvs is None:
            found[method] = "it needs --venvs"
        elif options.install and (said := install(options.venvs, name)):
            found[method] = f"its environment could not be made: {said}"
        elif not python_of(options.venvs, name).exists():
            found[method] = f"there is no environment {options.venvs / name}; make it with --install"
    return found


def runs(options: argparse.Namespace, methods: Sequence[str]) -> Iterator[Run]:
    """Methods take turns, so that what else the machine does falls on all alike."""
    for task in options.tasks:
        for seconds in options.seconds:
            for seed in options.seeds:
                yield from (Run(task, method, seconds, seed) for method in methods)


def table(records: Sequence[dict[str, Any]], task: str) -> list[str]:
    """A line a method: success at each length, as the mean over seeds with its 95% interval."""
    mine = [r for r in records if r["task"] == task]
    lengths = sorted({r["seconds"] for r in mine})
    lines = [f"{task}: success in % (95% interval), by seconds of training"]
    lines.append(f"{'':26}{'updates/s':>10}" + "".join(f"{f'{s:g} s':>20}" for s in lengths) + f"{'stable .95':>13}")
    for method in dict.fromkeys(r["method"] for r in mine):
        rows = [r for r in mine if r["method"] == method]
        rates = {s: [r["success_rate"] for r in rows if r["seconds"] == s] for s in lengths}
        cells = [f"{_cell(rates[s], [r for r in rows if r['seconds'] == s]):>20}" for s in lengths]
        run = [s for s in lengths if rates[s]]
        good = [min(rates[s]) >= STABLE for s in run]
        since = next((s for i, s in enumerate(run) if all(good[i:])), None)
        speed = np.median([r["trained"]["updates"] / r["trained"]["seconds"] for r in rows])
        lines.append(f"{method:26}{speed:>10.0f}" + "".join(cells) + f"{'-' if since is None else f'{since:g} s':>13}")
    return lines


def _cell(rates: Sequence[float], rows: Sequence[dict[str, Any]]) -> str:
    if not rates:
        return "-"
    low, high = seeds_interval(rates, sum(r["episodes"] for r in rows))
    return f"{100 * np.mean(rates):.0f} ({100 * low:.0f} to {100 * high:.0f})"


def read_options() -> argparse.Namespace:
    def seeds(text: str) -> list[int]:
        first, dots, last = text.partition("..")
        return list(range(int(first), int(last) + 1)) if dots else [int(s) for s in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ["dtql", *PRESETS, *OTHERS]
    default = ["dtql", "mse-bc", "iql", *(m for m in OTHERS if m != "lerobot-diffusion")]  # too large for a CPU
    parser.add_argument("--methods", nargs="+", choices=known, default=default, metavar="NAME", help=", ".join(default))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=["pick"])
    parser.add_argument("--seconds", type=lambda t: [float(s) for s in t.split(",")], default=[10.0, 20.0, 40.0, 80.0])
    parser.add_argument("--seeds", type=seeds, default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--venvs", type=Path, help="folder of the other packages' environments")
    parser.add_argument("--install", action="store_true", help="make those that are missing")
    parser.add_argument("--out", type=Path, default=Path("runs/time_to_success"))
    return parser.parse_args()


def main() -> None:
    options = read_options()
    options.out.mkdir(parents=True, exist_ok=True)
    left_out = missing(options.methods, options)
    for method, why in left_out.items():
        print(f"{method} is left out: {why}", flush=True)
    path = options.out / "results.json"
    kept = json.loads(path.read_text())["runs"] if path.exists() else []
    about = {**machine("cpu"), "threads": options.threads, "command": sys.argv, "left_out": left_out}
    done = {
        tuple(r[k] for k in ("task", "method", "seconds", "seed")): r for r in kept if r["episodes"] == options.episodes
    }
    data: dict[str, Data] = {}
    for run in runs(options, [m for m in options.methods if m not in left_out]):
        key = (run.task, run.method, run.seconds, run.seed)
        if key not in done and run.method not in left_out:
            data.setdefault(run.task, Data(run.task, options.out))
            try:
                done[key] = perform(run, data[run.task], options)
            except RuntimeError as error:
                left_out[run.method] = str(error)
                print(f"{run.method} is left out from here on: {error}", flush=True)
                continue
            about["collected"] = {**about.get("collected", {}), run.task: data[run.task].command[2:]}
            write_json(path, {**about, "environments": RECIPES, "runs": list(done.values())})
            r = done[key]
            trained = f"{r['trained']['updates']} updates in {r['trained']['seconds']:.1f} s"
            print(f"{run.name}: {trained}, success {r['success_rate']:.2f} of {r['episodes']}", flush=True)
    for task in options.tasks:
        print("\n".join(["", *table(list(done.values()), task)]))
    print(f"\n{path}")


if __name__ == "__main__":
    main()
