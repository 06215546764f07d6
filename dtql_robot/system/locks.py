"""One process at a time writes a file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtql_robot.errors import InputError


class BeingWrittenError(InputError):
    """Another process writes the same file."""


WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems answer that have no locks: there two writers cannot know of each other."""


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Have `path` (a file or a folder, there or not yet) for this process alone while the block runs.

    The lock is a hidden file beside `path` that is gone afterwards; that of a process that was killed holds nobody.
    wait: wait for another process that has it; without, BeingWrittenError (an InputError) says which one that is.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        yield  # a device or a pipe is nobody's alone
        return
    name = target.parent / f".dtql-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.lock"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = _acquire(name, wait)
    except BlockingIOError:
        other = _holder(name)
        raise BeingWrittenError(
            f"{path} is being written by another process{other}; wait for it or choose another name."
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)  # before it is let go, so that nobody can have taken it yet
        os.close(handle)


def _acquire(name: Path, wait: bool) -> int:
    """A descriptor that holds the lock; BlockingIOError where another has it."""
    while True:
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                os.close(handle)
                raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.lstat(name)):
                os.ftruncate(handle, 0)
                os.write(handle, str(os.getpid()).encode())
                return handle
        os.close(handle)  # the one before has removed the file meanwhile: what is locked is nobody's any more


def _holder(name: Path) -> str:
    """ " (process 123)", where the lock's file says so."""
    with contextlib.suppress(OSError, ValueError):
        return f" (process {int(name.read_text())})"
    return ""
