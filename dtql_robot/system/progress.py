"""Progress of long work: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from dtql_robot.system.terminal import raw_stderr

EVERY = 15.0
"""Seconds between two lines in a log."""
LINE = "{desc}: {n_fmt}/{total_fmt} {unit}, {elapsed} elapsed, {remaining} left{postfix}"

_shown: ContextVar[bool] = ContextVar("progress_shown", default=True)


@contextmanager
def progress_shown(shown: bool) -> Iterator[None]:
    """Whether the bars that are made in the block appear (`--quiet`)."""
    token = _shown.set(shown)
    try:
        yield
    finally:
        _shown.reset(token)


class _Lines:
    """The stream of a bar without a terminal: each state is a line of its own, without carriage returns."""

    def __init__(self, stream: Any):
        self.stream, self.last = stream, ""

    def write(self, text: str) -> int:
        line = text.strip("\r\n ")
        if line and line != self.last:
            self.stream.write(f"{line}\n")
            self.last = line
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def progress_bar(
    description: str,
    *,
    total: int | None,
    unit: str,
    initial: int = 0,
    enabled: bool = True,
    scale: bool = False,
    over: Iterable[Any] | None = None,
) -> Any:
    """A tqdm bar on stderr.  In a file or a pipe it writes a line every 15 seconds, so that logs stay readable.

    total: None where it is not known.  scale: write 12.3M for 12,300,000.
    over: what the bar itself is iterated for, in place of calls of `update`.
    """
    from tqdm import tqdm

    stream, live = raw_stderr(), sys.stderr.isatty()
    return tqdm(
        over,
        desc=description,
        total=total,
        initial=initial,
        unit=unit,
        unit_scale=scale,
        file=stream if live else _Lines(stream),
        disable=not (enabled and _shown.get()),
        dynamic_ncols=live,
        mininterval=0.1 if live else EVERY,
        maxinterval=10.0 if live else EVERY,
        bar_format=None if live else LINE,
    )
