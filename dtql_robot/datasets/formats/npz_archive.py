"""NumPy's .npz, read without trust: nothing is unpickled, and no array is allocated that the file cannot hold."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from dtql_robot.datasets.formats.hdf5_budget import Budget
from dtql_robot.datasets.formats.reading import ObsArray
from dtql_robot.errors import InputError
from dtql_robot.types import Array

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError)
_REMEDY = "If it is your own, write it with np.savez instead of np.savez_compressed."


class NpzArchive:
    """The arrays of an open .npz.

    described  name -> shape and dtype, of every array that can be read without unpickling
    opaque     name -> what it is, of the others
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self._archive = path, archive
        self._budget = Budget(path, remedy=_REMEDY)
        self.described: dict[str, ObsArray] = {}
        self.opaque: dict[str, str] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename:
                self.opaque[name] = "not an array"
                continue
            shape, dtype = self._header(info)
            if dtype.hasobject:
                self.opaque[name] = "Python objects, which are never unpickled"
            else:
                self.described[name] = ObsArray(shape, dtype)

    def _header(self, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype that a member claims, checked against its size."""
        with self._damaged(info.filename), self._archive.open(info) as stream:
            shape, dtype, length = _read_header(stream)
        if not dtype.hasobject and length + math.prod(shape) * dtype.itemsize != info.file_size:
            raise InputError(
                f"{info.filename} in {self.path} claims {dtype} values of shape {shape}, which its {info.file_size} "
                "bytes do not hold: the file is damaged. Fetch or write it again."
            )
        return shape, dtype

    def read(self, name: str) -> Array:
        """The array `name`, whole.  InputError where it is damaged, or claims more than the file can hold."""
        stored = self.described[name]
        count = math.prod(stored.shape)
        self._budget.take(count * (1 if stored.is_image else max(4, stored.dtype.itemsize)), name, stored.is_image)
        with self._damaged(name), self._archive.open(f"{name}.npy") as stream:
            return np.asarray(npy.read_array(stream, allow_pickle=False))

    @contextmanager
    def _damaged(self, name: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise InputError(
                f"{name} in {self.path} cannot be read ({error}): it is damaged. Fetch or write it again."
            ) from error


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """(shape, dtype, bytes of the header) of a .npy stream at its start."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of NumPy's format")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    if any(n < 0 for n in shape):
        raise ValueError(f"shape {shape}")
    return tuple(shape), dtype, stream.tell()


@contextmanager
def open_npz(path: Path) -> Iterator[NpzArchive]:
    """Open `path`.  InputError where it is damaged."""
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise InputError(f"{path} cannot be opened as .npz ({error}). Fetch or write it again.") from error
    with archive:
        yield NpzArchive(path, archive)
