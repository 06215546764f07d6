"""How much of a file may be taken into memory: compression and shared storage can claim far more than a file holds.

One budget holds for a whole file: everything that is read from it is added up, what is stored once and read under many
names each time.  Numbers count in the size they have once they are float32, images and text as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from dtql_robot.errors import InputError
from dtql_robot.system.memory import free_memory

ALWAYS = 2**27
"""Bytes that any file may claim."""
NUMBERS, IMAGES = 16, 200
"""Times its own size that a file may claim beyond that: recorded numbers rarely shrink to a quarter, flat frames do."""
_WORTH_ASKING = 2**26  # bytes from which it is asked whether they fit into memory
_REPACK = (
    "If it is your own, write it without compression and shared arrays first: `h5repack -f NONE IN.hdf5 OUT.hdf5`."
)


class Budget:
    """What may still be read of one file.

    largest_text  bytes of the largest object in the file's text storage: no text is longer
    size          bytes that are stored; None: the file's own
    remedy        what the owner of a sound file can do about a refusal
    """

    def __init__(self, path: Path, largest_text: int = 0, *, size: int | None = None, remedy: str = _REPACK) -> None:
        self.path, self.largest_text, self._remedy = path, largest_text, remedy
        self._size = path.stat().st_size if size is None else size
        self._left = {False: ALWAYS + NUMBERS * self._size, True: ALWAYS + IMAGES * self._size}

    def take(self, count: int, place: str, image: bool = False) -> None:
        """Account for `count` bytes at `place`.  InputError where the file claims too much, or they do not fit."""
        self._left[image] -= count
        if self._left[image] < 0:
            raise InputError(
                f"{self.path} claims far more values than its {self._size} bytes can hold (seen at {place}): it is "
                f"damaged, or made to exhaust memory. {self._remedy}"
            )
        if count > _WORTH_ASKING and count > (free := free_memory()):
            raise InputError(
                f"{place} needs {count / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are free. Leave "
                "it out, or use a machine with more memory."
            )


_CURRENT: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budget_of(path: Path, largest_text: int) -> Iterator[Budget]:
    """The budget that `take` draws on inside the block."""
    outer = _CURRENT.get()
    budget = Budget(path, largest_text)
    _CURRENT.set(budget)
    try:
        yield budget
    finally:
        _CURRENT.set(outer)


def take(count: int, place: str, image: bool = False) -> None:
    """`Budget.take` of the file that is open; nothing outside `budget_of`."""
    budget = _CURRENT.get()
    if budget is not None:
        budget.take(count, place, image)


def largest_text() -> int:
    """An upper bound on the bytes of one text in the open file."""
    budget = _CURRENT.get()
    return 0 if budget is None else budget.largest_text
