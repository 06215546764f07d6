"""Errors of the HDF5 library as one sentence that names the place in the file."""

from __future__ import annotations

import errno
from pathlib import Path

import h5py

from dtql_robot.errors import InputError

# All that h5py raises for damaged content; which of them depends on the damaged byte.
_LIBRARY_ERRORS = (
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    MemoryError,
    OverflowError,
    AttributeError,
    SystemError,
)
DAMAGED = "The file is damaged or incomplete: fetch it again."
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class reading:  # noqa: N801 (a context manager; as a class it costs a tenth of a generator, on every array)
    """Turn every error of the HDF5 library inside the block into an InputError that names `place` (and `key` in it)."""

    __slots__ = ("_key", "_place")

    def __init__(self, place: str | h5py.Group | h5py.Dataset, key: str = "") -> None:
        self._place, self._key = place, key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, InputError) or not isinstance(error, _LIBRARY_ERRORS):
            return
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return  # of a disk, not of what was read
        place = self._place if isinstance(self._place, str) else where(self._place, self._key)
        reason = " ".join(str(error).split()).strip("\"'")[:200] or type(error).__name__
        raise InputError(f"{place} cannot be read (HDF5 says: {reason}). {DAMAGED}") from error


def file_name(node: h5py.Group | h5py.Dataset) -> str:
    """The file's own name, without its folders, for messages."""
    return Path(str(node.file.filename)).name


def where(group: h5py.Group | h5py.Dataset, key: str = "") -> str:
    """Place of a member for messages: "data/demo_0/actions in lift.hdf5"."""
    inside = "/".join(part for part in (str(group.name or "").strip("/"), key) if part)
    return f"{inside or 'the top level'} in {file_name(group)}"
