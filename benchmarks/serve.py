"""What serving a policy costs: round trips, requests a second, and what harm does to those who mean none.

    python benchmarks/serve.py [--run RUN] [--seconds 5] [--fuzz 1000] [--json out.json]

Without --run the network has the default size and random weights, for FetchPickAndPlace's observations (31 entries) and
a chunk of 8 actions, exported to safetensors.  The server is a process of its own on loopback, with one thread; so is
each client.  Parts: the policy in this process; one client; 8 clients as fast as they can; 8 clients at 125 requests a
second each; one client while 1,000 fuzzed messages, huge messages and deaf clients arrive.  Every answer is compared
with the policy's own, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.client import Client
from dtql_robot.policy_folder.files import load_numpy_policy

BARS = {"p50 ms": 1.0, "p99 ms": 3.0, "requests/s of 8 clients": 1000.0}
CLIENTS, OBSERVATIONS = 8, 32


def ask(port: int, folder: str, seconds: float, hz: float | None, seed: int) -> tuple[list[float], float]:
    """One client for so many seconds, at a rate or as fast as it can.  Returns (milliseconds of each, seconds)."""
    policy, rng = load_numpy_policy(folder), np.random.default_rng(seed)
    observations = [{k: v[0] for k, v in policy.interface.example(rng).items()} for _ in range(OBSERVATIONS)]
    expected = [policy.predict({k: v[None] for k, v in obs.items()}, [])[0] for obs in observations]
    took: list[float] = []
    with Client(port=port) as client:
        for i in range(50):
            client.chunk(observations[i % OBSERVATIONS])
        start = time.perf_counter()
        while (begun := time.perf_counter()) < start + seconds:
            i = len(took) % OBSERVATIONS
            found = client.chunk(observations[i])
            took.append(1e3 * (time.perf_counter() - begun))
            if not np.array_equal(found, expected[i]):
                raise AssertionError("an answer differs from the policy's own")
            if hz is not None:
                time.sleep(max(0.0, start + len(took) / hz - time.perf_counter()))
        return took, time.perf_counter() - start


def in_process(folder: str, seconds: float) -> list[float]:
    """Milliseconds of each decision of the policy itself."""
    policy, took = load_numpy_policy(folder), list[float]()
    obs = policy.interface.example(np.random.default_rng(0))
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        policy.predict(obs, [])
        took.append(1e3 * (time.perf_counter() - begun))
    return took


def attack(port: int, messages: int) -> int:
    """Fuzzed messages, huge ones, and clients that read no answer.  Returns how many messages were sent."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    from tests.serving.test_hardship import fuzzed, good_message

    rng, address = random.Random(0), f"ws://127.0.0.1:{port}"
    deaf = [connect(address, compression=None, max_queue=1) for _ in range(4)]
    socket = connect(address, compression=None)
    socket.recv()
    for i in range(messages):
        try:
            socket.send(bytes(3_000_000) if i % 50 == 0 else fuzzed(rng, good_message()))
            socket.recv(timeout=20)
        except ConnectionClosed:
            socket = connect(address, compression=None)
            socket.recv()
        deaf[i % 4].send(good_message())
    for each in deaf:
        each.socket.close()
    return messages


def row(name: str, took: list[float], rate: float | None = None) -> dict[str, Any]:
    p50, p99, most = np.percentile(took, [50, 99, 100])
    print(f"{name:<34}{p50:>9.3f}{p99:>9.3f}{most:>9.3f}{len(took):>9}" + ("" if rate is None else f"{rate:>10.0f}"))
    return {"part": name, "p50_ms": p50, "p99_ms": p99, "max_ms": most, "n": len(took), "per_s": rate}


def measure(folder: str, port: int, seconds: float, messages: int) -> list[dict[str, Any]]:
    print(f"{'':<34}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'n':>9}{'a second':>10}")
    rows = [row("in this process", in_process(folder, seconds))]
    with ProcessPoolExecutor(CLIENTS + 1) as pool:
        took, wall = pool.submit(ask, port, folder, seconds, None, 0).result()
        rows.append(row("1 client", took, len(took) / wall))
        for name, hz in (("8 clients as fast as they can", None), ("8 clients at 125 Hz", 125.0)):
            jobs = [pool.submit(ask, port, folder, seconds, hz, seed) for seed in range(CLIENTS)]
            found = [job.result() for job in jobs]
            rows.append(row(name, [t for took, _ in found for t in took], sum(len(t) / w for t, w in found)))
        good, bad = pool.submit(ask, port, folder, seconds, None, 0), pool.submit(attack, port, messages)
        sent = bad.result()
        took, wall = good.result()
        rows.append(row(f"1 client beside {sent} bad messages", took, len(took) / wall))
    return rows


def export_default(folder: Path) -> Path:
    """A policy of the default size with random weights."""
    sys.path.insert(0, str(Path(__file__).parent))
    from policy_latency import default_policy

    from dtql_robot.policy_folder.save import save_policy_folder

    return save_policy_folder(default_policy(), folder / "policy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of export --format safetensors; default: random weights")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each part")
    parser.add_argument("--fuzz", type=int, default=1000, help="bad messages")
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.run or export_default(Path(temporary))
        serve = [sys.executable, "-m", "dtql_robot", "serve", str(folder), "--port", "0"]
        server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline().rpartition(":")[2].split()[0])
            load = os.getloadavg()[0]
            rows = measure(str(folder), port, arguments.seconds, arguments.fuzz)
        finally:
            server.terminate()
            print(server.communicate()[0].strip())
    one, most = rows[1], rows[2]
    reached = {"p50 ms": one["p50_ms"], "p99 ms": one["p99_ms"], "requests/s of 8 clients": most["per_s"]}
    for name, bar in BARS.items():
        met = reached[name] >= bar if "requests" in name else reached[name] <= bar
        print(f"{name}: {reached[name]:.2f}, bar {bar:g}: {'met' if met else 'missed'}")
    print(f"load of the machine before: {load:.1f} on {os.cpu_count()} cores")
    if arguments.json:
        arguments.json.write_text(json.dumps({"load": load, "cores": os.cpu_count(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
