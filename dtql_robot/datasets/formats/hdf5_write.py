"""Writing HDF5 files where the disk may fill: HDF5 itself prints tracebacks then, and can end the process."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


@contextmanager
def writing(path: Path, mode: str, **options: Any) -> Iterator[h5py.File]:
    """`h5py.File(path, mode, **options)` for an existing `path`; OSError where the disk does not take it all."""
    with open(path, "r+b", buffering=0) as raw:
        target = _Target(raw)
        try:
            with h5py.File(target, mode, **options) as file:
                yield file
        except Exception as error:
            if target.error is not None:
                raise target.error from error
            raise
        if target.error is not None:
            raise target.error


def check_room(path: Path, size: int) -> None:
    """OSError unless the file system of the folder `path` has room for `size` bytes more."""
    if shutil.disk_usage(path).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class _Target(io.RawIOBase):
    """A file that keeps its first error to itself, and takes, without writing it, all that comes afterwards.

    HDF5 cannot close a file that it cannot write; in this one it always can.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self.raw = raw
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """All of `data`, or nothing where an earlier error is kept."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while self.error is None and len(left):
                left = left[self.raw.write(left) or 0 :]
        except OSError as error:
            self.error = error
        return size

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; with zeros where the file ends."""
        view = memoryview(buffer).cast("B")
        read = self.raw.readinto(view) or 0
        view[read:] = bytes(len(view) - read)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's size."""
        try:
            return self.raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place in the file."""
        return self.raw.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self.raw.tell()

    def flush(self) -> None:
        """Nothing is held back."""
