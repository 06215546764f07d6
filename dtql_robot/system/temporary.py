"""Temporary names beside the file they are to become, and what killed processes have left of them.

A name tells who writes: machine, process and when that process began.  Those of processes that are no more are removed
when something is next written into the same folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = re.compile(r"\.dtql-(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-(?P<began>\d+)-[0-9a-f]{8}\.tmp(\.\w+)?")
ELSEWHERE_SECONDS = 24 * 3600.0
"""Age at which a name of another machine, whose processes cannot be seen from here, counts as left behind."""

_cleaned: set[Path] = set()


@contextmanager
def temporary_sibling(path: Path, suffix: str) -> Iterator[Path]:
    """A name in the folder of `path`, which is made, where there is nothing yet; nothing is there afterwards.

    The name does not depend on that of `path`, however long it is.  suffix: its ending, such as ".mp4".
    Raises OSError where `path` could not be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.lstat()  # a name that is too long is found out here, not after the work
    remove_leftovers(path.parent)
    owner = f"{_machine()}-{os.getpid()}-{_began(os.getpid())}"
    temporary = path.with_name(f".dtql-{owner}-{secrets.token_hex(4)}.tmp{suffix}")
    try:
        yield temporary
    finally:
        _remove(temporary)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed left in the folder; looked for once in this process's life."""
    if folder in _cleaned:
        return
    _cleaned.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in [entry for entry in entries if _is_leftover(entry)]:
            _remove(Path(entry.path))


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    found = NAME.fullmatch(entry.name)
    if found is None:
        return False
    if found["machine"] != _machine():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > ELSEWHERE_SECONDS
    return _began(int(found["process"])) != int(found["began"])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@functools.cache
def _machine() -> str:
    """What a process number means something within: host, boot and, in containers, the space of process numbers."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _began(process: int) -> int:
    """When a process began, in the kernel's ticks; -1 where there is none, 0 where the system does not tell."""
    try:
        stat = Path(f"/proc/{process}/stat").read_bytes()
        return int(stat.rpartition(b")")[2].split()[19])
    except FileNotFoundError:
        pass
    except OSError:
        return 0
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return -1
    except OSError:
        return 0
    return 0
