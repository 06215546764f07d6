"""Trainings that share one GPU: `python benchmarks/gpu_sharing.py [--processes 1 4 12] [--mps]`.

Each process replays the default recipe's update (batch 128, the sizes of the Adroit door) as a CUDA graph for
`--seconds`.  Printed: updates per second of all processes together, and of the slowest and the fastest.  By default the
GPU gives each process time in turn; with --mps their kernels run side by side, through NVIDIA's Multi-Process Service,
which this script starts and stops.  On a CPU (--device cpu) the updates are eager, on one thread a process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from update_speed import variants

from dtql_robot.config import Config

ALL_READY_S = 120
"""Longest wait until every process has made its first updates."""


def rate(device: str, seconds: float, folder: Path, processes: int) -> float:
    """Updates per second of this process, once all have begun.  folder: where each says that it is ready."""
    torch.set_num_threads(1)
    update = variants(Config(), device, False, False)["graph" if device == "cuda" else "eager"]
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(10):
        update()
    sync()
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + ALL_READY_S
    while len(list(folder.iterdir())) < processes and time.monotonic() < end:
        time.sleep(0.01)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(10):
            update()
        sync()
        count += 10
    return count / (time.perf_counter() - start)


def together(processes: int, device: str, seconds: float) -> list[float]:
    """The rates of that many processes, in ascending order."""
    with tempfile.TemporaryDirectory() as folder:
        one = [sys.executable, __file__, "--device", device, "--seconds", str(seconds), "--worker", folder]
        running = [
            subprocess.Popen([*one, "--processes", str(processes)], stdout=subprocess.PIPE) for _ in range(processes)
        ]
        return sorted(float(p.communicate()[0]) for p in running)


@contextmanager
def shared_by_mps() -> Iterator[None]:
    """NVIDIA's Multi-Process Service while the block runs, for the processes that this one starts."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        subprocess.run(["nvidia-cuda-mps-control", "-d"], check=True)
        try:
            yield
        finally:
            subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", check=True)
            del os.environ["CUDA_MPS_PIPE_DIRECTORY"], os.environ["CUDA_MPS_LOG_DIRECTORY"]


def main() -> None:
    """Print a line for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4, 12])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--mps", action="store_true")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(rate(options.device, options.seconds, options.worker, options.processes[0]))
        return
    if options.mps:
        with shared_by_mps():
            report(options)
    else:
        report(options)


def report(options: argparse.Namespace) -> None:
    for count in options.processes:
        rates = together(count, options.device, options.seconds)
        print(
            f"{count} processes: {sum(rates):.0f} updates/s together, each {rates[0]:.0f} to {rates[-1]:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
