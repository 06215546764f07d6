"""Tasks on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import pickle
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dtql_robot.errors import InputError, describe
from dtql_robot.system.cluster import remote
from dtql_robot.system.cluster.remote import Answer, Holder
from dtql_robot.system.cluster.remote_pool import MachineLostError, RemotePool
from dtql_robot.system.cluster.settings import ClusterSettings
from dtql_robot.system.cluster.versions import difference, fingerprint
from dtql_robot.system.cores import usable_cores

WAIT_SECONDS = 0.5
PROBE_SECONDS = 120.0


def run_tasks(key: str, holder: list[Any], method: str, items: Sequence[Any], timeout: float) -> list[Answer]:
    """Runs in Ray's worker process.  holder: [reference], fetched where this process has none of the pool yet."""
    import ray

    return remote.answer(key, lambda: ray.get(holder[0]), method, items, timeout)


class RaySender:
    """See `remote_pool.Sender`.  The holder travels once to each machine."""

    chunk = 1

    def __init__(self, holder: Holder, settings: ClusterSettings, timeout: float, at_once: int) -> None:
        import ray

        self._key, self._reference, self._timeout = uuid.uuid4().hex, ray.put(holder), timeout
        self._task = ray.remote(run_tasks).options(max_retries=0, **_resources(settings))
        self.at_once = at_once

    def send(self, method: str, items: Sequence[Any]) -> Any:
        """See `Sender`."""
        return self._task.remote(self._key, [self._reference], method, list(items), self._timeout)

    def wait(self, sent: Sequence[Any]) -> list[Any]:
        """See `Sender`."""
        import ray

        return ray.wait(list(sent), num_returns=1, timeout=WAIT_SECONDS)[0]

    def take(self, sent: Any) -> list[Answer]:
        """See `Sender`."""
        import ray

        try:
            return ray.get(sent)
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:
            reason = _first_line(error)
            raise MachineLostError(f"A machine of the cluster or a process on it was lost ({reason}).") from error

    def cancel(self, sent: Any) -> None:
        """See `Sender`."""
        import ray

        with contextlib.suppress(Exception):
            ray.cancel(sent, force=True)


def _first_line(error: BaseException) -> str:
    return describe(error).splitlines()[0][:120]


def _resources(settings: ClusterSettings) -> dict[str, Any]:
    declared: dict[str, Any] = {"num_cpus": settings.cpus, "num_gpus": settings.gpus}
    if settings.memory_gb is not None:
        declared["memory"] = int(settings.memory_gb * 2**30)
    return declared


class RayCluster:
    """A cluster that this process is connected to, or is about to be, see `connect.Cluster`."""

    def __init__(self, settings: ClusterSettings, alone: bool, started: Callable[[], None] | None = None) -> None:
        """alone: it is this machine, started for this process.  started: returns once Ray has, or raises its error."""
        self.settings, self._alone, self._started = settings, alone, started or (lambda: None)

    @property
    def slots(self) -> int:
        """Tasks that can be done at once."""
        import ray

        self._started()
        found, s = ray.cluster_resources(), self.settings
        limits = [found.get("CPU", 0) / s.cpus] if s.cpus else []
        limits += [found.get("GPU", 0) / s.gpus] if s.gpus else []
        if limits and min(limits) < 1:
            raise InputError(
                f"A task needs {s.cpus:g} CPUs and {s.gpus:g} GPUs, and the whole cluster has "
                f"{found.get('CPU', 0):g} and {found.get('GPU', 0):g}; ask for less."
            )
        return int(min(limits, default=usable_cores()))

    def pool(
        self, factory: str, args: tuple, *, timeout: float, report: Callable[[str], None], at_once: int | None = None
    ) -> RemotePool:
        """See `connect.Cluster`.  Twice as many tasks as can be done are sent: no machine waits for the next."""
        self._started()
        holder = Holder(factory, pickle.dumps(args))
        sender = RaySender(holder, self.settings, timeout, at_once or 2 * self.slots)
        return RemotePool(sender, self.settings.retries, report)

    def sees(self, path: Path) -> bool:
        """See `connect.Cluster`."""
        if self.settings.shared is not None or self._alone:
            return self.settings.shared is not False
        found = path.stat()
        key = (found.st_size, found.st_mtime_ns)
        return all(theirs == key for _, theirs in _on_every_machine(_look_at(str(path.resolve()))))

    def check_versions(self) -> None:
        """InputError, in a sentence, where a machine has other versions or code than this one."""
        mine = fingerprint()
        for machine, theirs in _on_every_machine(_versions_there()):
            wrong = (
                f"{machine} has no dtql-robot that can be imported ({theirs}); install the same version there."
                if isinstance(theirs, str)
                else difference(machine, theirs, mine)
            )
            if wrong:
                raise InputError(wrong)


def _versions_there() -> Callable[[], Any]:
    def versions() -> Any:
        try:
            from dtql_robot.system.cluster.versions import fingerprint

            return fingerprint()
        except ImportError as error:
            return str(error)

    return versions


def _look_at(path: str) -> Callable[[], Any]:
    def look() -> Any:

        try:
            found = os.stat(path)
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    return look


def _on_every_machine(ask: Callable[[], Any]) -> Iterator[tuple[str, Any]]:
    """(the machine's name, what `ask` finds there) of every machine of the cluster; of none that is lost meanwhile.

    ask: a function within a function, which travels by value, so that a machine without this package can be asked too.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(ask)
    alive = [node for node in ray.nodes() if node["Alive"]]
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in alive]
    sent = [task.options(num_cpus=0, scheduling_strategy=place).remote() for place in there]
    for node, reference in zip(alive, sent, strict=True):
        machine = f"The machine {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        try:
            yield machine, ray.get(reference, timeout=PROBE_SECONDS)
        except ray.exceptions.RayError as error:
            if node["NodeID"] in {other["NodeID"] for other in ray.nodes() if other["Alive"]}:
                raise InputError(
                    f"{machine} does not answer ({_first_line(error)}); remove it from the cluster or mend it."
                ) from error
