"""Ctrl-C and SIGTERM, noted instead of raised, for work that must end between two of its steps."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def redelivered_interrupts() -> Iterator[None]:
    """Ctrl-C that falls into a destructor or a library's callback, where Python prints and drops it, comes again."""
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is KeyboardInterrupt:  # a little later: here it would be dropped like the one before
            _thread.start_new_thread(_interrupt_later, ())
        else:
            before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt_later() -> None:
    time.sleep(0.1)
    _thread.interrupt_main()


def ignore_interrupts() -> None:
    """From now on Ctrl-C does nothing: for a process that is ending, whose libraries would print a traceback of it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class Interrupts:
    """How often this process has been asked to stop."""

    def __init__(self) -> None:
        self.count = 0

    def __bool__(self) -> bool:
        return self.count > 0


@contextmanager
def deferred_interrupts(first: str, further: str) -> Iterator[Interrupts]:
    """Count the signals that ask this process to stop; the block looks and ends by itself.

    first, further: sentences for stderr when the first signal and each further one arrives.
    A signal that is ignored (nohup, background jobs of a shell) stays ignored.  Only the main thread is told of
    signals: in another one nothing changes.
    """
    found = Interrupts()

    def note(*_: object) -> None:
        found.count += 1
        with contextlib.suppress(OSError):  # by the descriptor: a stream may be in the middle of a line of its own
            os.write(2, f"\n{first if found.count == 1 else further}\n".encode("ascii", "replace"))

    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {s: signal.getsignal(s) for s in SIGNALS}
    taken = [s for s, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    try:
        for s in taken:
            signal.signal(s, note)
        yield found
    finally:
        for s in taken:
            signal.signal(s, before[s])
