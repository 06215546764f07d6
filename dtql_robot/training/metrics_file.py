"""metrics.csv as training writes it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dtql_robot.errors import InputError
from dtql_robot.run_folder import read_metrics
from dtql_robot.system.files import write_text


class MetricsFile:
    """A header and one row every `log_every` updates, with the seconds since training began.

    Rows past `step` are dropped: they were written after the checkpoint that the run continues from.
    A row is written whole or not at all, and one that cannot be written is lost: no curve is worth a training.
    """

    def __init__(self, path: Path, step: int):
        self.path, self.lost = path, 0
        rows = [r for r in read_metrics(path) if r["step"] <= step] if step else []
        self.start = time.perf_counter() - (rows[-1].get("seconds", 0.0) if rows else 0.0)
        self.columns = list(rows[0]) if rows else []
        _write_table(path, self.columns, rows)
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by close)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values logged at `step`."""
        row = {"step": step, "seconds": time.perf_counter() - self.start, **values}
        try:
            if not set(row) <= set(self.columns):
                self._widen(row)
            self._append(_line(self.columns, row))
        except (OSError, InputError):
            self.lost += 1

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _append(self, line: bytes) -> None:
        """One call writes the row; what a full disk cuts off is taken back."""
        size = os.fstat(self.file.fileno()).st_size
        try:
            written = self.file.write(line)
        except OSError:
            written = None
        if written != len(line):
            os.ftruncate(self.file.fileno(), size)
            raise OSError("the row could not be written whole")

    def _widen(self, row: Mapping[str, float]) -> None:
        """Make room for new columns, such as the policy's once it starts after `pretrain_steps`."""
        columns = [*self.columns, *(name for name in row if name not in self.columns)]
        _write_table(self.path, columns, read_metrics(self.path))
        self.file.close()
        self.file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        self.columns = columns


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, float]]) -> None:
    header = (",".join(columns) + "\n").encode() if columns else b""
    write_text(path, b"".join([header, *(_line(columns, row) for row in rows)]).decode())


def _line(columns: Sequence[str], row: Mapping[str, float]) -> bytes:
    """The row as text, NaN where it has no value."""
    values = (f"{row.get(name, math.nan):.6g}" if name != "step" else str(int(row[name])) for name in columns)
    return (",".join(values) + "\n").encode()
