"""Trainings and evaluations on a cluster: commands that run where a task was sent, and the files that they leave."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dtql_robot.experiments.travel import Files, read_files, renamed, travelling, unpack, write_files
from dtql_robot.run_folder import CHECKPOINT, CONFIG, RESULTS
from dtql_robot.system.cluster import Cluster
from dtql_robot.system.files import write_json
from dtql_robot.system.launch import command as launch_command
from dtql_robot.system.launch import safe_environment
from dtql_robot.system.locks import locked
from dtql_robot.system.task_pool import Failed
from dtql_robot.system.workers import THREAD_LIMITS

OUT, DATA = "@OUT@", "@DATA@"
"""Stand in an order's words for its run folder and its demonstrations, wherever these are."""
LOG = "bench.log"
LONGEST = 30 * 24 * 3600.0
"""Seconds in which an order must be done."""


@dataclass(frozen=True)
class Command:
    """A module of this package with arguments, and what it reads from its standard input.

    resumed  the arguments where the run folder has a checkpoint, as one whose machine was lost may; None: the same
    """

    module: str
    words: tuple[str, ...]
    resumed: tuple[str, ...] | None = None
    text: bytes = b""


@dataclass(frozen=True)
class Order:
    """Commands for one run folder, one after the other until one fails.

    folder  of this machine
    data    its demonstrations, by full names of this machine
    threads for torch
    shared  whether that folder is the one to write, wherever the order is done; else its files travel there and back
    files   of the run folder, where they travel
    place   the folder in which other names are meant that the words have, where the machine has it
    """

    folder: str
    data: str
    commands: tuple[Command, ...]
    threads: int
    shared: bool
    files: Files = field(default_factory=dict)
    place: str = field(default_factory=os.getcwd)


class OrderRunner:
    """Does orders; lives in a worker process."""

    def __init__(self, data: dict[str, Files]) -> None:
        """data: demonstrations that are not here, see `travelling`."""
        self._stack = ExitStack()
        self._names = unpack(data, Path(self._stack.enter_context(tempfile.TemporaryDirectory()))) if data else {}

    def run(self, order: Order) -> tuple[str | None, Files]:
        """Returns (why it failed, the run folder's files where they are not there already)."""
        with contextlib.ExitStack() as stack:
            folder = Path(order.folder)
            if not order.shared:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / folder.name
            folder.mkdir(parents=True, exist_ok=True)
            for name in (CHECKPOINT, RESULTS):  # a try whose process was killed may be saving still
                with locked(folder / name, wait=True):
                    pass
            write_files(folder, order.files)
            reason = self._run(order, folder)
            return reason, {} if order.shared else read_files(folder)

    def _run(self, order: Order, folder: Path) -> str | None:
        places = {OUT: str(folder), DATA: renamed(order.data, self._names)}
        there = order.place if os.path.isdir(order.place) else None
        environment = {k: v for k, v in safe_environment().items() if k not in THREAD_LIMITS}
        environment["OMP_NUM_THREADS"] = str(order.threads)
        log = folder / LOG
        for command in order.commands:
            begun = command.resumed is not None and (folder / CHECKPOINT).exists()
            words = [places.get(word, word) for word in (command.resumed if begun else command.words) or ()]
            words = [*launch_command(command.module, end_with_this=True), *words]
            with open(log, "a") as file:
                done = subprocess.run(
                    words, input=command.text, stdout=file, stderr=file, env=environment, cwd=there, check=False
                )
            if done.returncode:
                said = log.read_text().strip().splitlines()
                return f"{said[-1] if said else 'no output'} (see {Path(order.folder) / LOG})"
        return None

    def close(self) -> None:
        """Remove the demonstrations."""
        self._stack.close()


def _name_source(config: Path, data: str) -> None:
    """The run folder tells where the demonstrations are here, not where they had travelled to."""
    if config.exists():
        write_json(config, json.loads(config.read_text()) | {"data": data})


def sees_folder(cluster: Cluster, folder: Path) -> bool:
    """Whether all machines of the cluster see a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".dtql-seen-") as file:
        return cluster.sees(Path(file.name))


def run_orders(
    cluster: Cluster, orders: Sequence[Order], report: Callable[[str], None], at_once: int | None = None
) -> Iterator[str | None]:
    """Why each order failed, None for one that did not, in order.  Its folder then holds its files."""
    data = travelling(cluster, [order.data for order in orders])
    factory = "dtql_robot.experiments.remote_jobs:OrderRunner"
    pool = cluster.pool(factory, (data,), timeout=LONGEST, report=report, at_once=at_once)
    with contextlib.closing(pool):
        for order, found in zip(orders, pool.map("run", orders), strict=True):
            if isinstance(found, Failed):
                yield found.reason
                continue
            reason, files = found
            write_files(Path(order.folder), files)
            if data:
                _name_source(Path(order.folder) / CONFIG, order.data)
            yield reason
