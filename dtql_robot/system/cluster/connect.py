"""`--cluster`: this machine through Ray, a Ray cluster, or Slurm."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from dtql_robot.errors import InputError, describe
from dtql_robot.system.cluster.settings import ClusterSettings, read_settings
from dtql_robot.system.cores import usable_cores
from dtql_robot.system.workers import WorkerError

STARTS = 3
SLOW = ("timed out", "Timed out")
"""What Ray says where it has waited too short a time for itself."""
ALONE = {"health_check_failure_threshold": 100, "worker_register_timeout_seconds": 300, "worker_niceness": 0}
"""Ray on this machine alone: a machine that is busy or has slept is not lost; work has its command's priority."""
INSTALL = "pip install 'dtql-robot[cluster]'"


class Pool(Protocol):
    """Something that does tasks: `task_pool.TaskPool` or `remote_pool.RemotePool`."""

    def map(self, method: str, items: Iterable[Any]) -> Iterator[Any]:
        """method(item) for every item, in order, or `task_pool.Failed`."""

    def close(self) -> None:
        """Stop what is under way."""


class Cluster(Protocol):
    """Machines that do tasks.  settings: what a task may use.  slots: tasks at once."""

    settings: ClusterSettings

    @property
    def slots(self) -> int:
        """Tasks that can be done at once."""

    def pool(
        self, factory: str, args: tuple, *, timeout: float, report: Callable[[str], None], at_once: int | None = None
    ) -> Pool:
        """Workers that hold `factory(*args)` (see `workers.Worker`), wherever they are needed.

        timeout: seconds for a task.  report: told in a sentence of every loss.  at_once: tasks sent at once.
        """

    def sees(self, path: Path) -> bool:
        """Whether this file lies under this name on all machines, so that it need not travel."""


@contextmanager
def connect(where: str | None, config: Path | None = None) -> Iterator[Cluster | None]:
    """The cluster that `--cluster` names, while the block runs; None: the processes of this machine, without one.

    where: "local" (Ray, started on this machine), "auto" (the Ray cluster that this machine belongs to), the address of
    a Ray cluster, or "slurm".  InputError where there is no such cluster, or where its machines have other versions.
    """
    if where is None:
        if config is not None:
            raise InputError("--cluster-config says how a cluster is used; name the cluster with --cluster too.")
        yield None
        return
    settings = read_settings(config)
    if where == "slurm":
        _require("submitit")
        from dtql_robot.system.cluster.slurm_sender import SlurmCluster

        yield SlurmCluster(settings)
        return
    _require("ray")
    with _ray(where, settings) as cluster:
        yield cluster


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise InputError(f"--cluster needs the package {package}: `{INSTALL}`.")


@contextmanager
def _ray(where: str, settings: ClusterSettings) -> Iterator[Cluster]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "120")
    import ray

    from dtql_robot.system.cluster.ray_sender import RayCluster

    alone, mine = where == "local", not ray.is_initialized()
    with ThreadPoolExecutor(1, "ray.init") as starter:  # Ray's processes end with the thread that started them
        start = starter.submit(start_ray, where) if mine and alone else None
        try:
            if start is not None:  # Ray takes seconds, in which a command reads its data
                cluster = RayCluster(settings, alone, start.result)
            else:
                if mine:
                    start_ray(where)
                cluster = RayCluster(settings, alone)
                if not alone:
                    cluster.check_versions()
            yield cluster
        finally:
            if start is not None:
                start.exception()
            if mine:
                ray.shutdown()


def start_ray(where: str) -> None:
    """ray.init.  InputError where no cluster is found; WorkerError where Ray cannot be started on this machine.

    On a busy machine Ray gives up on itself, or on the cluster that it joins, after 30 seconds; it is then tried again.
    """
    import ray

    options: dict[str, Any] = {"address": where, "log_to_driver": False, "logging_level": "ERROR"}
    if where == "local":
        options |= {"num_cpus": usable_cores(), "include_dashboard": False, "_system_config": ALONE}
    for again in reversed(range(STARTS)):
        try:
            with _signals_kept():
                ray.init(**options)
            return
        except Exception as error:
            ray.shutdown()
            slow = where == "local" or any(word in str(error) for word in SLOW)
            if not slow:
                raise InputError(
                    f"--cluster {where}: no Ray cluster can be reached ({describe(error)}); start one "
                    "with `ray start --head`, or use --cluster local."
                ) from error
            if not again:
                raise WorkerError(
                    f"Ray did not start, {STARTS} times ({describe(error)}): the machine may be too busy."
                ) from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; here it interrupts, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
