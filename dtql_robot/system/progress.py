"""Progress bars for long work: lively on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from dtql_robot.system.terminal import raw_stderr


def progress_bar(description: str, *, total: int, unit: str, initial: int = 0, enabled: bool = True) -> Any:
    """A tqdm bar on stderr.  In a file or a pipe it is renewed every 15 seconds only, so that logs stay readable."""
    return tqdm(
        desc=description,
        total=total,
        initial=initial,
        unit=unit,
        file=raw_stderr(),
        disable=not enabled,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 15.0,
    )
