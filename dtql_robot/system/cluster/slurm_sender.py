"""Tasks as Slurm's jobs, by submitit."""

from __future__ import annotations

import contextlib
import pickle
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dtql_robot.errors import InputError, describe
from dtql_robot.system.cluster import remote
from dtql_robot.system.cluster.remote import Answer, Holder
from dtql_robot.system.cluster.remote_pool import MachineLostError, RemotePool
from dtql_robot.system.cluster.settings import ClusterSettings
from dtql_robot.system.cluster.versions import fingerprint

LOOK_SECONDS = 0.2
"""Between two looks for jobs that have ended."""


def run_job(key: str, holder: str, method: str, items: Sequence[Any], timeout: float) -> list[Answer]:
    """Runs in a job.  holder: the file that it is pickled in."""
    return remote.answer(key, lambda: pickle.loads(Path(holder).read_bytes()), method, items, timeout)


class SlurmSender:
    """See `remote_pool.Sender`.  The holder lies in the jobs' folder, once."""

    def __init__(self, holder: Holder, settings: ClusterSettings, timeout: float, at_once: int | None) -> None:
        folder = Path(settings.folder).expanduser().resolve()
        folder.mkdir(parents=True, exist_ok=True)
        self._key, self._timeout = uuid.uuid4().hex, timeout
        self._holder = folder / f"{self._key}.holder"
        self._holder.write_bytes(pickle.dumps(holder))
        self._executor = _executor(settings, folder)
        self.at_once, self.chunk = at_once or settings.jobs, settings.chunk

    def send(self, method: str, items: Sequence[Any]) -> Any:
        """See `Sender`."""
        return self._executor.submit(run_job, self._key, str(self._holder), method, list(items), self._timeout)

    def wait(self, sent: Sequence[Any]) -> list[Any]:
        """See `Sender`."""
        found = [job for job in sent if job.done()]
        if not found:
            time.sleep(LOOK_SECONDS)
        return found

    def take(self, sent: Any) -> list[Answer]:
        """See `Sender`."""
        import submitit

        try:
            return sent.result()
        except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
            raise MachineLostError(f"A job of the cluster was lost ({describe(error)[:120]}).") from error

    def cancel(self, sent: Any) -> None:
        """See `Sender`."""
        with contextlib.suppress(Exception):
            sent.cancel(check=False)


def _executor(settings: ClusterSettings, folder: Path) -> Any:
    import submitit

    parameters = dict(settings.slurm)
    kind = parameters.pop("executor", "slurm")
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=kind)
        declared: dict[str, Any] = {"cpus_per_task": max(1, round(settings.cpus)), "timeout_min": 24 * 60}
        if settings.memory_gb is not None:
            declared["mem_gb"] = settings.memory_gb
        if settings.gpus:
            declared["gpus_per_node"] = max(1, round(settings.gpus))
        executor.update_parameters(**declared | parameters)
    except (RuntimeError, ValueError, TypeError, NameError) as error:
        raise InputError(
            f"--cluster slurm: {describe(error)}. Run it where Slurm's commands are, or mend 'slurm' in "
            "--cluster-config."
        ) from error
    return executor


class SlurmCluster:
    """Slurm, asked by this process, see `connect.Cluster`."""

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        _executor(settings, Path(settings.folder).expanduser().resolve())

    @property
    def slots(self) -> int:
        """Jobs at once."""
        return self.settings.jobs

    def pool(
        self, factory: str, args: tuple, *, timeout: float, report: Callable[[str], None], at_once: int | None = None
    ) -> RemotePool:
        """See `connect.Cluster`.  Each job compares its versions with those here before it begins."""
        holder = Holder(factory, pickle.dumps(args), fingerprint())
        return RemotePool(SlurmSender(holder, self.settings, timeout, at_once), self.settings.retries, report)

    def sees(self, path: Path) -> bool:
        """See `connect.Cluster`: Slurm's machines share their folders, or submitit itself would not work."""
        return self.settings.shared is not False
