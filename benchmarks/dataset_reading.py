"""Reading speed and memory of datasets: `python benchmarks/dataset_reading.py [--transitions 1000000]`.

Writes an uncompressed robomimic file of random low-dimensional demonstrations (60-dim observations, 7-dim actions) and
measures, each in a process of its own:

  raw        the same bytes with h5py into one array a quantity, at its fastest of three
  load       `load` without the cache; raw time / load time must be 0.5 or more
  memory     peak of `load` and of the training buffer made from it, over what the process had before, in units of the
             observations' own size; must be under 3
  cached     the second `load` of the same file; must be under a second
  disk       training samples from states on disk with a bound on what is in memory

A file of the real world can be measured instead: --file low_dim.hdf5.

`--against CHECKOUT` compares with another state of this package: CPU time (user and system) of one `load` without the
cache, 20 processes each, in turn, of the --file given (several are possible) or of a robomimic file of 200 short
demonstrations with 8 observations in double precision. Printed are medians and their ratio, which should be 1 or less.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

OBS, ACTIONS, STEPS = 60, 7, 200
RESIDENT = 64 * 2**20


def write_file(path: Path, transitions: int) -> None:
    """Demonstrations of STEPS steps with obs, next_obs, actions, rewards and dones."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {}})
        for index in range(transitions // STEPS):
            demo = data.create_group(f"demo_{index}")
            states = rng.standard_normal((STEPS + 1, OBS), np.float32)
            success = np.arange(STEPS) == STEPS - 1
            demo["obs/state"], demo["next_obs/state"] = states[:-1], states[1:]
            demo["actions"] = np.tanh(rng.standard_normal((STEPS, ACTIONS), np.float32))
            demo["rewards"], demo["dones"] = success.astype(np.float64), success.astype(np.int64)


def write_many_keys(path: Path, demos: int = 200, steps: int = 60) -> None:
    """Short demonstrations as robomimic's own files have them: many small arrays, all of float64."""
    rng = np.random.default_rng(0)
    sizes = {"object": 10, "eef_pos": 3, "eef_quat": 4, "eef_vel": 3, "gripper_qpos": 2, "gripper_qvel": 2,
             "joint_pos": 7, "joint_vel": 7}  # fmt: skip
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {}})
        data.attrs["total"] = demos * steps
        for index in range(demos):
            demo = data.create_group(f"demo_{index}")
            demo.attrs["num_samples"], demo.attrs["model_file"] = steps, "<mujoco>" + " " * 5000 + "</mujoco>"
            for key, size in sizes.items():
                rows = rng.standard_normal((steps + 1, size))
                demo[f"obs/{key}"], demo[f"next_obs/{key}"] = rows[:-1], rows[1:]
            demo["actions"], demo["states"] = np.tanh(rng.standard_normal((steps, 7))), rng.standard_normal((steps, 32))
            demo["rewards"] = demo["dones"] = (np.arange(steps) == steps - 1).astype(np.float64)


def read_raw(path: Path) -> float:
    """Seconds to read what `load` needs with h5py alone, into arrays made beforehand."""
    start = time.perf_counter()
    with h5py.File(path) as file:
        demos = file["data"]
        total = sum(demos[name]["actions"].shape[0] for name in demos)
        first = demos[next(iter(demos))]
        key = next(iter(first["obs"]))
        kinds = {f"obs/{key}": None, "actions": None, "rewards": None, "dones": None}
        arrays = {k: np.empty((total, *first[k].shape[1:]), first[k].dtype) for k in kinds if k in first}
        row = 0
        for name in demos:
            demo = demos[name]
            rows = demo["actions"].shape[0]
            for key, array in arrays.items():
                demo[key].read_direct(array, dest_sel=np.s_[row : row + rows])
            row += rows
    return time.perf_counter() - start


def peak() -> float:
    """Largest memory of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def mapped_bytes() -> int:
    """Memory of this process that holds parts of files (Linux), bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssFile:"):
            return int(line.split()[1]) * 1024
    return 0


def task_raw(path: Path) -> dict[str, float]:
    return {"seconds": min(read_raw(path) for _ in range(3))}


def task_load(path: Path) -> dict[str, float]:
    from dtql_robot.datasets import load

    times = []
    for _ in range(3):
        start = time.perf_counter()
        demos = load(path)
        times.append(time.perf_counter() - start)
        count = demos.num_transitions
        del demos
    return {"seconds": min(times), "transitions": count}


def task_memory(path: Path) -> dict[str, float]:
    import torch

    from dtql_robot.config import DataConfig
    from dtql_robot.datasets import load
    from dtql_robot.training.buffer import choose_obs_keys, fit_normalizers, make_buffer

    before = peak()
    demos = load(path)
    loaded = peak()
    keys = choose_obs_keys(demos, ())
    obs_norm, action_norm = fit_normalizers(demos, keys, "standard", "range")
    cfg = DataConfig(reward="dataset")
    buffer = make_buffer(demos, cfg, 0.99, keys, obs_norm, action_norm, torch.device("cpu"))
    size = sum(e.obs[k].nbytes for e in demos.episodes for k in keys)
    return {"load": (loaded - before) / size, "load_and_buffer": (peak() - before) / size, "n": len(buffer)}


def task_cached(path: Path) -> dict[str, float]:
    from dtql_robot.datasets import load

    start = time.perf_counter()
    demos = load(path)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "sum": float(sum(e.actions.sum() for e in demos.episodes))}


def task_disk(path: Path) -> dict[str, float]:
    import torch

    from dtql_robot.config import DataConfig
    from dtql_robot.datasets import load
    from dtql_robot.training.buffer import DiskChunkBuffer, choose_obs_keys, fit_normalizers, make_buffer
    from dtql_robot.training.mapped_rows import MappedStates

    demos = load(path)
    keys = choose_obs_keys(demos, ())
    norms = fit_normalizers(demos, keys, "standard", "range")
    buffer = make_buffer(demos, DataConfig(reward="dataset"), 0.99, keys, *norms, torch.device("cpu"), memory_limit=0)
    assert isinstance(buffer, DiskChunkBuffer)
    del demos
    assert buffer.mapped is not None
    buffer.mapped.drop()
    buffer = dataclasses.replace(buffer, mapped=MappedStates(buffer.mapped.states, max_resident=RESIDENT))
    before = mapped_bytes()
    generator = torch.Generator().manual_seed(0)
    start = time.perf_counter()
    largest = 0
    for _ in range(50):
        for _ in range(20):
            buffer.sample(256, generator)
        largest = max(largest, mapped_bytes())
    seconds = time.perf_counter() - start
    states = buffer.states.numel() * 4
    return {"batches_per_second": 1000 / seconds, "resident": max(0, largest - before), "states": states}


def task_cpu(path: Path) -> dict[str, float]:
    from dtql_robot.datasets import load

    load(path)  # imports what it needs
    before = resource.getrusage(resource.RUSAGE_SELF)
    load(path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {"seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


TASKS = {
    "cpu": task_cpu,
    "raw": task_raw,
    "load": task_load,
    "memory": task_memory,
    "cached": task_cached,
    "disk": task_disk,
}


def measure(task: str, path: Path, cache: str, checkout: Path | None = None) -> dict[str, float]:
    """One task in a fresh process, with the package in `checkout` (None: the installed one)."""
    command = [sys.executable, __file__, "--task", task, "--file", str(path)]
    environment = {**os.environ, "DTQL_ROBOT_CACHE": cache}
    if checkout is not None:
        environment["PYTHONPATH"] = str(checkout.resolve())
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(path: Path, folder: str) -> None:
    raw = measure("raw", path, "off")["seconds"]
    load = measure("load", path, "off")
    print(f"{path.name}: {load['transitions']} transitions, {path.stat().st_size / 1e6:.0f} MB")
    print(f"raw h5py   {raw:.2f} s")
    print(f"load       {load['seconds']:.2f} s, {raw / load['seconds']:.0%} of raw speed (at least 50%)")
    memory = measure("memory", path, "off")
    print(
        f"memory     {memory['load']:.2f} x the observations for load, {memory['load_and_buffer']:.2f} x with the "
        "training buffer (under 3)"
    )
    first, second = measure("cached", path, folder), measure("cached", path, folder)
    assert first["sum"] == second["sum"]
    print(f"cached     {first['seconds']:.2f} s for the first load, {second['seconds']:.2f} s for the second (under 1)")
    disk = measure("disk", path, folder)
    print(
        f"disk       {disk['batches_per_second']:.0f} batches of 256 a second; {disk['resident'] / 1e6:.0f} MB of "
        f"{disk['states'] / 1e6:.0f} MB in memory at most (bound: {RESIDENT / 1e6:.0f} MB)"
    )


def compare(path: Path, checkout: Path, runs: int) -> None:
    """CPU seconds of one load, now and with the package in `checkout`, in turn."""
    seconds: dict[Path, list[float]] = {checkout: [], Path(__file__).resolve().parents[1]: []}
    for _ in range(runs):
        for where, found in seconds.items():
            found.append(measure("cpu", path, "off", where)["seconds"])
    then, now = (statistics.median(found) for found in seconds.values())
    print(f"{path.name}: {now:.3f} s, {checkout.name} {then:.3f} s, ratio {now / then:.2f} (medians of {runs})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--file", type=Path, nargs="+", default=[])
    parser.add_argument("--against", type=Path, help="another checkout of this package")
    parser.add_argument("--runs", type=int, default=20, help="of each, with --against")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(TASKS[options.task](options.file[0])))
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = options.file or [Path(folder) / "low_dim.hdf5"]
        if not options.file and options.against is None:
            write_file(paths[0], options.transitions)
        elif not options.file:
            write_many_keys(paths[0])
        for path in paths:
            if options.against is None:
                report(path, folder)
            else:
                compare(path, options.against, options.runs)


if __name__ == "__main__":
    main()
