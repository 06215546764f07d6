"""Arrays of a Zarr store of version 2, read without the package zarr: what a record claims is checked first.

An array `a/b` is a record `a/b/.zarray` (JSON: shape, chunks, dtype, compressor, ...) and a file `a/b/0.0` for each
chunk that is not all `fill_value`.  Version 3 is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.hdf5_budget import Budget
from dtql_robot.datasets.formats.reading import ObsArray
from dtql_robot.datasets.formats.zarr_chunks import CODECS, ChunkError, decode
from dtql_robot.datasets.formats.zarr_files import ZarrFiles, open_files
from dtql_robot.errors import InputError
from dtql_robot.system.json_text import parse_json
from dtql_robot.types import Array

_RECORD = "/.zarray"
_LARGEST_RECORD = 2**20  # bytes
_DTYPE = re.compile(r"[<>|][biuf][1248]")
_OVERHEAD = 2**16  # bytes that packing may add to a chunk, beside a tenth of it
_REMEDY = "If it is your own, write it without compression first."


@dataclass(frozen=True)
class _Record:
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    compressor: dict[str, Any] | None
    order: str
    fill: Any
    separator: str
    unreadable: str | None

    @property
    def chunk_bytes(self) -> int:
        return math.prod(self.chunks) * self.dtype.itemsize

    @property
    def grid(self) -> tuple[int, ...]:
        """Chunks along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))


class ZarrStore:
    """An open store.

    described  name ("data/action") -> how it is stored, of every array; what is no numbers has dtype object
    notes      what was not as it seems in the arrays that were read
    """

    def __init__(self, files: ZarrFiles) -> None:
        self.path, self._files = files.path, files
        if "zarr.json" in files.sizes:
            raise InputError(
                f"{files.path} is a Zarr store of version 3; expected version 2, as Diffusion Policy writes. "
                "Write it with zarr_format=2."
            )
        self._budget = Budget(files.path, size=sum(files.sizes.values()), remedy=_REMEDY)
        names = sorted(n[: -len(_RECORD)] for n in files.sizes if n.endswith(_RECORD))
        self._records = {name: self._record(name) for name in names}
        self.described = {k: ObsArray(r.shape, r.dtype) for k, r in self._records.items()}
        self._chunks: dict[str, list[str]] = {name: [] for name in names}
        for file in files.sizes:
            parents = (file[:i] for i in range(len(file) - 1, 0, -1) if file[i] == "/")
            array = next((parent for parent in parents if parent in self._records), None)
            if array is not None:
                self._chunks[array].append(file)
        self.notes: list[str] = []

    def attrs(self, group: str = "") -> dict[str, Any]:
        """The attributes of a group, or of the store."""
        name = f"{group}/.zattrs" if group else ".zattrs"
        return self._json(name) if name in self._files.sizes else {}

    def read(self, name: str) -> Array:
        """The array `name`, whole.  InputError where it is damaged, or claims more than the store can hold."""
        record = self._records[name]
        if record.unreadable:
            raise InputError(f"{name} in {self.path} {record.unreadable}. Leave it out with obs_keys.")
        count, image = math.prod(record.shape), self.described[name].is_image
        size = count * (record.dtype.itemsize if image else max(4, record.dtype.itemsize))
        self._budget.take(size + record.chunk_bytes, name, image)
        array = np.full(record.shape, 0 if record.fill is None else record.fill, record.dtype)
        missing = math.prod(record.grid)
        for file in self._chunks[name]:
            missing -= self._place(array, file, file[len(name) + 1 :], record)
        if missing and count:
            if record.fill is None:
                raise InputError(f"{missing} chunks of {name} in {self.path} are missing. Fetch or write it again.")
            self.notes.append(
                f"{missing} of {math.prod(record.grid)} chunks of {name!r} are not stored and count as {record.fill}."
            )
        return array

    def _place(self, array: Array, file: str, position: str, record: _Record) -> bool:
        """Unpack one chunk into the array; False where `file` is none of its chunks."""
        index = position.split(record.separator)
        grid = record.grid
        if len(index) != len(grid) or not all(i.isdecimal() and int(i) < n for i, n in zip(index, grid, strict=True)):
            return False  # another file, or a chunk left from before the array was cut shorter
        raw = self._files.read(file, record.chunk_bytes + record.chunk_bytes // 10 + _OVERHEAD)
        try:
            values = decode(raw, record.compressor, record.chunk_bytes)
        except ChunkError as error:
            raise InputError(f"{file} in {self.path} is damaged: {error}. Fetch or write it again.") from error
        chunk = np.frombuffer(values, record.dtype).reshape(record.chunks, order=record.order)  # type: ignore[call-overload]
        starts = [int(i) * c for i, c in zip(index, record.chunks, strict=True)]
        target = tuple(slice(s, s + c) for s, c in zip(starts, record.chunks, strict=True))
        inside = tuple(slice(0, n - s) for s, n in zip(starts, record.shape, strict=True))
        array[target] = chunk[inside]
        return True

    def _json(self, name: str) -> dict[str, Any]:
        text = self._files.read(name, _LARGEST_RECORD)
        try:
            found = parse_json(text)
        except ValueError as error:
            raise InputError(f"{name} in {self.path} is not JSON ({error}): it is damaged.") from error
        if not isinstance(found, dict):
            raise InputError(f"{name} in {self.path} is not a JSON object: it is damaged.")
        return found

    def _record(self, name: str) -> _Record:
        said = self._json(name + _RECORD)
        shape, chunks = (_sizes(said.get(key), low) for key, low in (("shape", 0), ("chunks", 1)))
        compressor, dtype = said.get("compressor"), said.get("dtype")
        if shape is None or chunks is None or len(shape) != len(chunks) or said.get("zarr_format") != 2:
            raise InputError(f"{name}{_RECORD} in {self.path} does not describe a Zarr version 2 array: it is damaged.")
        plain = isinstance(dtype, str) and _DTYPE.fullmatch(dtype) is not None
        codec = compressor.get("id") if isinstance(compressor, dict) else compressor
        why = None if plain else f"holds {str(dtype)[:40]}, not numbers"
        if codec is not None and codec not in CODECS:
            why = why or f"is compressed with {str(codec)[:40]}; {', '.join(CODECS)} are read"
        if said.get("filters"):
            why = why or "is filtered; only compression is read"
        try:
            kind = np.dtype(dtype) if plain else np.dtype(object)
            fill = said.get("fill_value")
            fill = None if fill is None or why is not None else np.full((), fill, kind)[()]
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{name}{_RECORD} in {self.path} is damaged ({error}).") from error
        separator = "/" if said.get("dimension_separator") == "/" else "."
        order = "F" if said.get("order") == "F" else "C"
        kept = compressor if isinstance(compressor, dict) else None
        return _Record(shape, chunks, kind, kept, order, fill, separator, why)


def _sizes(value: Any, low: int) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(type(n) is int and low <= n < 2**48 for n in value):
        return None
    return tuple(value) if len(value) <= 8 else None


@contextmanager
def open_store(path: Path) -> Iterator[ZarrStore]:
    """The store at `path`, a folder or a zip archive."""
    with open_files(path) as files:
        yield ZarrStore(files)
