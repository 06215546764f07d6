"""How many processor cores this process may use: the one count for threads, simulators and jobs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores of this process: those it is bound to, and no more than its container's share of CPU time (at least 1)."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = container_share(CGROUPS, OWN_CGROUPS)
    return bound if share is None else max(1, min(bound, int(share + 0.5)))


def container_share(cgroups: Path, own: Path) -> float | None:
    """The tightest limit on CPU time, in cores, of this process's control groups (Linux, version 1 and 2).

    cgroups: where they are mounted.  own: the file that names those of this process.  None without a limit.
    """
    shares = [*_limits_v2(cgroups, own), *_limits_v1(cgroups, own)]
    return min(shares, default=None)


def _limits_v2(cgroups: Path, own: Path) -> Iterator[float]:
    """Of "cpu.max" ("QUOTA PERIOD" or "max PERIOD") in the group and in every group around it."""
    for folder in _around(cgroups, _path(own, "")):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (folder / "cpu.max").read_text().split()
            if quota != "max":
                yield int(quota) / int(period)


def _limits_v1(cgroups: Path, own: Path) -> Iterator[float]:
    """Of "cpu.cfs_quota_us" (-1: no limit) and "cpu.cfs_period_us"."""
    for mount in ("cpu", "cpu,cpuacct", "cpuacct,cpu"):
        for folder in _around(cgroups / mount, _path(own, "cpu")):
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
                if quota > 0:
                    yield quota / period


def _path(own: Path, controller: str) -> PurePosixPath:
    """This process's group under a controller ("" is version 2), from lines like "4:cpu,cpuacct:/docker/1f"."""
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = [*line.split(":", 2), "", ""][:3]
            if controller in controllers.split(","):
                return PurePosixPath(path)
    return PurePosixPath("/")


def _around(root: Path, group: PurePosixPath) -> Iterator[Path]:
    """The folders of the group and of those around it, `root` last.  Inside a container only `root` may exist."""
    for path in (group, *group.parents):
        yield root.joinpath(*path.parts[1:])
