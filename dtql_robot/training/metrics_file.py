"""metrics.csv as training writes it."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dtql_robot.config import Config
from dtql_robot.errors import InputError
from dtql_robot.run_folder import METRICS, read_metrics
from dtql_robot.system.files import write_text
from dtql_robot.training.callback import Callback


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
        self.last = dict(rows[-1]) if rows else {}
        _write_table(path, self.columns, rows)
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by close)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values logged at `step`, or add them to the row of that step."""
        more = bool(self.last) and self.last["step"] == step
        row = {"step": step, "seconds": time.perf_counter() - self.start, **(self.last if more else {}), **values}
        self.last = row
        try:
            if not set(row) <= set(self.columns):
                self._widen(row)
            if more:
                self._rewrite([*read_metrics(self.path)[:-1], row])
            else:
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
        self._rewrite(read_metrics(self.path), columns)

    def _rewrite(self, rows: Sequence[Mapping[str, float]], columns: Sequence[str] | None = None) -> None:
        columns = self.columns if columns is None else columns
        _write_table(self.path, columns, rows)
        self.file.close()
        self.file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        self.columns = list(columns)


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, float]]) -> None:
    header = (",".join(columns) + "\n").encode() if columns else b""
    write_text(path, b"".join([header, *(_line(columns, row) for row in rows)]).decode())


def _line(columns: Sequence[str], row: Mapping[str, float]) -> bytes:
    """The row as text, NaN where it has no value."""
    values = (f"{row.get(name, math.nan):.6g}" if name != "step" else str(int(row[name])) for name in columns)
    return (",".join(values) + "\n").encode()


class MetricsWriter(Callback):
    """Every run's metrics.csv."""

    def __init__(self) -> None:
        self.tables: dict[Path, MetricsFile] = {}

    def on_start(self, runs: Sequence[Path], cfg: Config, step: int) -> None:
        """Open the tables, cut to what was logged up to `step`."""
        self.tables = {run: MetricsFile(run / METRICS, step) for run in runs}

    def on_log(self, run: Path, step: int, values: Mapping[str, float]) -> None:
        """A row."""
        self.tables[run].write(step, values)

    def on_end(self, step: int) -> None:
        """Close the tables; says how many rows a full disk cost."""
        for table in self.tables.values():
            table.close()
        lost = sum(table.lost for table in self.tables.values())
        if lost:
            print(f"{lost} rows of {METRICS} could not be written; only the curves miss them.", file=sys.stderr)
