"""Text for a person's terminal: what a stranger's file says cannot move the cursor, and no encoding ends the work."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TYPE_CHECKING = False  # typing is not imported for --help
if TYPE_CHECKING:
    from typing import Any, TextIO

KEPT = "\n\t"
"""Control characters that our own lines need."""


class _Escapes(dict[int, str]):
    """Translation table for `str.translate`, filled on demand: control and direction characters become visible."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = character.encode("unicode_escape").decode("ascii") if _is_hidden(character) else character
        return self[code]


def _is_hidden(character: str) -> bool:
    if character in KEPT or character.isprintable():
        return False
    import unicodedata

    return unicodedata.category(character) in ("Cc", "Cf", "Cs")


_ESCAPES = _Escapes()


def printable(text: str) -> str:
    """The text with everything that could drive a terminal written out: an escape becomes the four letters `\\x1b`."""
    return text if text.isascii() and text.isprintable() else text.translate(_ESCAPES)


def _ascii_fallback(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: frames of tables as -, | and +, any other character that is missing as its escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(map(_ascii_of, missing)), error.end


def _ascii_of(character: str) -> str:
    import unicodedata

    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        return "-" if name.endswith("HORIZONTAL") else "|" if name.endswith("VERTICAL") else "+"
    return character.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error("dtql_robot.ascii", _ascii_fallback)


def open_streams() -> None:
    """Where stdin, stdout or stderr was closed (`>&-`), it leads to nowhere.

    Otherwise the next file that is opened takes its number, and what a library prints ends up in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 (for the whole process)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 (for the whole process)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 (for the whole process)


def accept_every_character() -> None:
    """Characters that the encoding of stdout or stderr lacks are replaced instead of raised, in all that is printed."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="dtql_robot.ascii")


class PlainStream:
    """A text stream that writes `printable` text; for everything else it is the stream that it wraps.

    lost: why what was written did not arrive, as where a log fills its disk or its reader is gone.  The work goes on,
    since hours of training are worth more than a line about them; its words are dropped.
    """

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write text without what could drive the terminal.  Returns the number of characters."""
        with self._kept_going():
            self.stream.write(self._shown(text))
        return len(text)

    def flush(self) -> None:
        """Write what is held back."""
        with self._kept_going():
            self.stream.flush()

    def _shown(self, text: str) -> str:
        return printable(text)

    @contextmanager
    def _kept_going(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost = self.lost or error
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def writelines(self, lines: Iterator[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _RawStream(PlainStream):
    """The same for text of our own, whose control characters are meant."""

    def _shown(self, text: str) -> str:
        return text


def raw_stderr() -> Any:
    """stderr for progress bars, whose carriage returns are our own."""
    stream = sys.stderr
    return _RawStream(stream.stream) if isinstance(stream, PlainStream) else stream


@contextmanager
def plain_output() -> Iterator[None]:
    """stdout and stderr as `PlainStream`.

    A stream that was closed before the program started takes what is written and drops it.
    """
    before, opened = (sys.stdout, sys.stderr), []
    for name, stream in zip(("stdout", "stderr"), before, strict=True):
        if stream is None:
            stream = open(os.devnull, "w")  # noqa: SIM115 (closed below)
            opened.append(stream)
        setattr(sys, name, PlainStream(stream))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in opened:
            stream.close()
