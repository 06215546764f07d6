"""Parquet tables as arrays, so that a damaged or foreign one ends in a sentence.  Needs pyarrow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.lerobot.folder import FETCH
from dtql_robot.errors import InputError
from dtql_robot.types import Array

_DEEPEST = 5  # axes of a feature, as LeRobot allows
INSTALL = "`pip install 'dtql-robot[lerobot]'`"


def pyarrow() -> Any:
    """The package with its parquet module.  InputError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"Parquet files of LeRobot data sets need pyarrow: {INSTALL}.") from error
    return pyarrow


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What pyarrow raises for damaged content as an InputError about `path`."""
    try:
        yield
    except InputError:
        raise
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        MemoryError,
        NotImplementedError,
        pyarrow().ArrowException,
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} cannot be read as a parquet table ({reason}): it is damaged. {FETCH}") from error


class Table:
    """One open parquet file.  columns: its top-level names; rows: how many."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            self._file = pyarrow().parquet.ParquetFile(path)
            self.columns: list[str] = list(self._file.schema_arrow.names)
            self.rows = int(self._file.metadata.num_rows)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def stored_size(self, columns: Sequence[str]) -> int:
        """Bytes that these columns take once they are unpacked, as the file says."""
        wanted, size = set(columns), 0
        with reading(self.path):
            for group in range(self._file.metadata.num_row_groups):
                described = self._file.metadata.row_group(group)
                parts = (described.column(i) for i in range(described.num_columns))
                size += sum(p.total_uncompressed_size for p in parts if p.path_in_schema.split(".")[0] in wanted)
        return size

    def read(self, columns: Sequence[str]) -> Any:
        """A pyarrow table of the columns; those that are not there are left out."""
        with reading(self.path):
            return self._file.read(columns=[c for c in columns if c in self.columns])

    def read_rows(self, column: str, start: int, stop: int) -> list[Any]:
        """Python values of some rows of one column, read by the row groups that hold them."""
        found: list[Any] = []
        first = 0
        with reading(self.path):
            for group in range(self._file.metadata.num_row_groups):
                last = first + self._file.metadata.row_group(group).num_rows
                if first < stop and start < last:
                    part = self._file.read_row_group(group, columns=[column]).column(0)
                    low = max(start - first, 0)
                    found += part.slice(low, min(stop, last) - first - low).to_pylist()
                first = last
        return found


def as_array(column: Any, shape: tuple[int, ...], label: str, path: Path) -> Array:
    """(rows, *shape) of a column of numbers, or of lists of numbers as deep as `shape`; () and (1,) are plain numbers.

    InputError where a value is missing, or a list has another length.
    """
    rows = len(column)
    with reading(path):
        values = column.combine_chunks() if hasattr(column, "combine_chunks") else column
        values = getattr(values, "storage", values)
        if values.null_count:
            raise InputError(f"{label!r} has {values.null_count} missing values in {path}.")
        for _ in range(_DEEPEST):
            if not hasattr(values, "flatten") or not hasattr(values.type, "value_type"):
                break
            values = values.flatten()
        if values.null_count:
            raise InputError(f"{label!r} has {values.null_count} missing values in {path}.")
        array = np.asarray(values.to_numpy(zero_copy_only=False))
    expected = rows * math.prod(shape)
    if array.dtype.kind not in "biuf" or array.size != expected:
        found = f"{array.size} values" if array.dtype.kind in "biuf" else f"values of type {values.type}"
        raise InputError(
            f"{label!r} holds {found} in {rows} rows of {path}; expected {shape or (1,)} numbers per row, as "
            "meta/info.json says."
        )
    return array.reshape(rows, *shape)
