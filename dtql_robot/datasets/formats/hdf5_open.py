"""Opening an HDF5 file, and why one cannot be opened."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from dtql_robot.datasets.formats.hdf5_budget import budget_of
from dtql_robot.datasets.formats.hdf5_errors import reading
from dtql_robot.datasets.formats.hdf5_heap import largest_text
from dtql_robot.errors import InputError

_FOREIGN = {
    b"PK\x03\x04": "it is a zip archive, as .npz files and zipped Zarr stores; `convert` it to robomimic HDF5 first",
    b"\x1f\x8b": "it is compressed with gzip; unpack it first",
    b"\x28\xb5\x2f\xfd": "it is compressed with zstd; unpack it first",
    b"\x93NUMPY": "it is a NumPy array; write its contents as robomimic HDF5",
    **{bytes([0x80, n]): "it is a Python pickle; write its contents as robomimic HDF5" for n in range(2, 6)},
    b"PAR1": "it is a Parquet file, as LeRobot's; write its contents as robomimic HDF5",
    b"<": "it is a web page or XML; the download went wrong",
    bytes(8): "it starts with zeros: it is still being written, or was copied before it was",
}
_BUSY = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}


@contextmanager
def open_file(path: Path) -> Iterator[h5py.File]:
    """Open `path` read-only.  InputError for a missing, empty, foreign, truncated, unclosed or locked file."""
    check_is_hdf5(path)
    with reading(str(path)):
        longest = largest_text(path)
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            sentence = _why_not_open(path, str(error))
            if sentence is None:
                raise
            raise InputError(sentence) from error
    try:
        with budget_of(path, longest):
            yield file
    finally:
        file.close()


def _why_not_open(path: Path, message: str) -> str | None:
    """The cause and its remedy where the file itself is sound."""
    number = re.search(r"unable to lock file, errno = (\d+)", message)
    if number is not None and int(number[1]) in _BUSY:
        return f"{path} is open for writing in another program, perhaps a recorder. Close it there, then try again."
    if number is not None:
        return (
            f"{path} cannot be locked: its file system, perhaps NFS, offers no locks. Set "
            "HDF5_USE_FILE_LOCKING=FALSE in the environment, or copy the file to a local disk."
        )
    if "already open for" in message:
        return (
            f"{path} was not closed: it is still being written, or its recorder ended early. Once nothing writes "
            f"to it, clear its mark with `h5clear -s {path}` (package hdf5-tools)."
        )
    return None


def check_is_hdf5(path: Path) -> None:
    """InputError for a missing, empty or foreign file."""
    if not path.exists():
        raise InputError(f"{path}: no such file. Check the path (relative paths start at {Path.cwd()}).")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; expected a dataset file (.hdf5).")
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
        is_hdf5 = bool(h5py.is_hdf5(path))
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error
    if not head:
        raise InputError(f"{path} is empty (0 bytes). Fetch or write it again.")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer, not the data. Run `git lfs pull` where it was cloned.")
    if not is_hdf5:
        kind = next((kind for start, kind in _FOREIGN.items() if head.startswith(start)), "")
        raise InputError(
            f"{path} is not an HDF5 file ({kind or f'it starts with {head[:12]!r}'}). Expected a robomimic, "
            "Minari or D4RL dataset file."
        )
