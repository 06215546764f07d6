"""Policy servers for tests: in this process, or in one of their own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from dtql_robot.serving.served import Served
from dtql_robot.serving.server import PolicyServer, run_server


@contextlib.contextmanager
def serving(served: Served, *, token: str | None = None, max_clients: int = 64) -> Iterator[tuple[PolicyServer, int]]:
    """A server in a thread of this process, and its port."""
    server = PolicyServer(served, token=token, max_clients=max_clients)
    ready, ports, stop = threading.Event(), list[int](), list[object]()

    def run() -> None:
        async def main() -> None:
            until = asyncio.Event()
            stop.extend((asyncio.get_running_loop(), until))
            await run_server(server, "127.0.0.1", 0, until, lambda port: (ports.append(port), ready.set()))

        asyncio.run(main())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(20)
    loop, until = stop
    try:
        yield server, ports[0]
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join(20)
        assert not thread.is_alive()


def start_server(policy: Path, port: int = 0, *options: str) -> tuple[subprocess.Popen[str], int]:
    """`dtql-robot serve` in a process of its own, and its port."""
    command = [sys.executable, "-m", "dtql_robot", "serve", str(policy), "--port", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    found = re.search(r"ws://[^ ]*:(\d+) ", line)
    if not found:
        process.kill()
        raise AssertionError(f"the server did not start: {line}{process.stderr.read()}")
    return process, int(found[1])
