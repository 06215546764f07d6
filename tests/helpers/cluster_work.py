"""The four pieces of work that are done on clusters in tests, small, and machines that get stuck.

`python -m tests.helpers.cluster_work MARKER AFTER WORD...` runs `dtql-robot WORD...` on machines that get stuck.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dtql_robot.cli import main

EPISODES = 6
LIFT = "robosuite_lift_v140/demo.hdf5"
TINY = [
    "--steps=20",
    "--batch-size=32",
    "--denoiser-width=16",
    "--policy-hidden=16",
    "--critic-hidden=16",
    "--threads=1",
]
BENCH = ["--methods", "mse-bc", "--seeds", "0", "--episodes", "3", *(f"--train-args={word}" for word in TINY)]
RUN = "runs/reach/mse-bc/seed0"
"""The run's folder in the benchmark's."""


def collect(out: Path, *words: str) -> str:
    """6 demonstrations into OUT; a digest of the file."""
    assert main(["collect", "FetchReach-v4", "--episodes", str(EPISODES), "--out", str(out), *words]) == 0
    return digest(out)


def evaluate(run: Path, *words: str) -> list[dict]:
    """6 episodes of a run; what results.json says of each."""
    assert main(["eval", str(run), "--episodes", str(EPISODES), *words]) == 0
    return json.loads((run / "results.json").read_text())["per_episode"]


def convert(source: Path, out: Path, *words: str) -> str:
    """Demonstrations of simulator states into OUT; a digest of the file."""
    assert main(["convert", str(source), str(out), *words]) == 0
    return digest(out)


def bench(out: Path, data: Path, *words: str) -> dict[str, object]:
    """One run; what its table says but for times."""
    (out / "data").mkdir(parents=True, exist_ok=True)
    shutil.copy(data, out / "data" / "reach.hdf5")
    assert main(["bench", "smoke", "--out", str(out), *BENCH, *words]) == 0
    return without_times(out)


def without_times(out: Path) -> dict[str, object]:
    """The table's rows and the runs' records without what a clock says."""
    rows = [line.split(",")[:5] for line in (out / "table.csv").read_text().splitlines()]
    records = {}
    for path in sorted((out / "results").glob("*.json")):
        record = json.loads(path.read_text())
        assert record.pop("train_seconds") is not None
        records[path.name] = [record["results"]["per_episode"], record["run"]]
    return {"rows": rows, "records": records}


def digest(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stuck(marker: Path, after: int, machine: str | None = None) -> Callable[..., Any]:
    """In the place of `ray_sender.run_tasks`: does `after` tasks, on this machine, and never ends the next one.

    machine: its id; None: any.  marker: appears when the machine is stuck; beside it are the numbers of tasks begun.
    """

    def run_tasks(key: str, holder: list, method: str, items: list, timeout: float) -> list:
        import time

        import ray

        from dtql_robot.system.cluster import remote

        if machine is None or ray.get_runtime_context().get_node_id() == machine:
            for number in range(1000):
                try:
                    marker.with_suffix(f".{number}").touch(exist_ok=False)
                    break
                except FileExistsError:
                    continue
            while number >= after:
                marker.touch()
                time.sleep(0.1)
        return remote.answer(key, lambda: ray.get(holder[0]), method, items, timeout)

    return run_tasks


if __name__ == "__main__":
    from dtql_robot.system.cluster import ray_sender

    ray_sender.run_tasks = stuck(Path(sys.argv[1]), int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
