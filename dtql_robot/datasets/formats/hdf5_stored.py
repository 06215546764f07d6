"""One array of an HDF5 file: opened once, checked, described, and read.

Nothing is allocated before the claimed size was compared with what is stored, and with the file's budget.
"""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats import hdf5_budget
from dtql_robot.datasets.formats.hdf5_errors import DAMAGED, reading, where
from dtql_robot.datasets.formats.hdf5_filters import missing_filter
from dtql_robot.datasets.formats.hdf5_types import dtype_of, memory_type
from dtql_robot.errors import InputError
from dtql_robot.types import Array, is_image

_MAX_EXPANSION = 2000  # deflate reaches about 1030 : 1
_ALWAYS_ALLOWED = 2**20  # bytes
_TEXTS_AT_ONCE = 2**26  # bytes of text that are read before they are counted


class Stored:
    """The array `key` of `group`, whose values are stored in this file.

    shape, dtype  as stored
    InputError where the values are elsewhere, compressed in a way that is not installed, or where there are none.
    """

    __slots__ = ("_chunk", "_group", "_id", "_key", "_space", "dtype", "shape")

    def __init__(self, opened: h5py.h5d.DatasetID, group: h5py.Group, key: str) -> None:
        self._id, self._group, self._key = opened, group, key
        with reading(group, key):
            made = opened.get_create_plist()
            layout = made.get_layout()
            if layout == h5py.h5d.VIRTUAL or made.get_external_count() > 0:
                raise InputError(
                    f"{self} keeps its values in another file, which is not followed. "
                    "Copy the data into one file, e.g. with h5repack."
                )
            compression = missing_filter(made)
            if compression is not None:
                raise InputError(
                    f"{self} is compressed with {compression}, which HDF5 reads only with a plugin: "
                    "`pip install hdf5plugin`."
                )
            self._space = opened.get_space()
            if self._space.get_simple_extent_type() == h5py.h5s.NULL:
                raise InputError(f"{self} contains no values.")
            self.shape: tuple[int, ...] = self._space.get_simple_extent_dims()
            self.dtype: np.dtype[Any] = dtype_of(opened.get_type())
            self._chunk = math.prod(made.get_chunk()) if layout == h5py.h5d.CHUNKED else 0

    def __str__(self) -> str:
        return where(self._group, self._key)

    def read(self) -> Array:
        """All values, which must be numbers."""
        self._check_numbers()
        with reading(self._group, self._key):
            self._take(self.shape)
            values = np.empty(self.shape, self.dtype)
            if values.size:
                self._id.read(h5py.h5s.ALL, h5py.h5s.ALL, values, memory_type(self.dtype))
            return values

    def read_row(self, row: int) -> Array:
        """Row `row`, counted from the end where it is negative; the values must be numbers."""
        self._check_numbers()
        rows = self.shape[0] if self.shape else 0
        if not rows:
            raise InputError(f"{self} has no rows.")
        if not -rows <= row < rows:
            raise InputError(f"{self} has shape {self.shape}; expected at least {row + 1} rows.")
        with reading(self._group, self._key):
            self._take(self.shape[1:])
            values = np.empty(self.shape[1:], self.dtype)
            if values.size:
                count = (1, *self.shape[1:])
                self._space.select_hyperslab((row % rows, *(0 for _ in count[1:])), count)
                self._id.read(h5py.h5s.create_simple(count), self._space, values, memory_type(self.dtype))
            return values

    def read_strings(self) -> list[str]:
        """All values of a list of texts, stored as bytes or as strings."""
        if self.shape == (0,):
            return []  # of numbers, too: that is how NumPy writes an empty list
        if self.dtype.kind not in "SUO" or len(self.shape) != 1:
            raise InputError(f"{self} holds {self._kind()} of shape {self.shape}; expected a list of names.")
        self._check_size()
        longest = hdf5_budget.largest_text() if self.dtype.kind == "O" else self.dtype.itemsize
        at_once = max(1, _TEXTS_AT_ONCE // (longest + 1))
        texts: list[str] = []
        node = h5py.Dataset(self._id)
        with reading(self._group, self._key):
            for start in range(0, self.shape[0], at_once):
                values = node[start : start + at_once]
                texts += [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values]
                hdf5_budget.take(4 * sum(map(len, texts[start:])), str(self))
        return texts

    def read_scalar(self) -> Any:
        """The single value, a number or a text."""
        self._check_size()
        with reading(self._group, self._key):
            value = h5py.Dataset(self._id)[()]
            if isinstance(value, (bytes, str)):  # which many names in the file may share
                hdf5_budget.take(4 * len(value), str(self))
            return value

    def _check_numbers(self) -> None:
        if self.dtype.kind not in "biuf":
            raise InputError(f"{self} holds {self._kind()}; expected numbers.")
        self._check_size()

    def _check_size(self) -> None:
        """A flipped bit in a shape would otherwise ask for terabytes, or for millions of chunks that are not there."""
        claimed = math.prod(self.shape) * self.dtype.itemsize
        if claimed <= _ALWAYS_ALLOWED:
            return
        with reading(self._group, self._key):
            stored = int(self._id.get_storage_size())
        if claimed > _MAX_EXPANSION * stored:
            raise InputError(f"{self} claims shape {self.shape}, {claimed} bytes, but {stored} are stored. {DAMAGED}")

    def _take(self, wanted: tuple[int, ...]) -> None:
        """Account for values of shape `wanted`; a chunk is unpacked as a whole, whatever is wanted of it."""
        image = is_image(self.shape[1:], self.dtype)
        size = self.dtype.itemsize if image else max(self.dtype.itemsize, 4)
        count = size * max(math.prod(wanted), self._chunk)
        hdf5_budget.take(count, str(self) if count > _ALWAYS_ALLOWED else self._key, image)

    def _kind(self) -> str:
        return {"O": "objects or text", "S": "text", "U": "text", "V": "records", "c": "complex numbers"}.get(
            self.dtype.kind, f"values of type {self.dtype}"
        )
