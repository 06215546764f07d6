"""Errors that are the user's to mend, and those of other people's code in one line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

TYPE_CHECKING = False  # not typing's, whose import takes longer than all else that `--help` does
if TYPE_CHECKING:
    from typing import Any

LONGEST = 300  # characters of another package's message


class InputError(ValueError):
    """Something the user gave is wrong: a file, an id, a setting, a missing optional package.

    The message is one or two sentences saying what was expected, what was found, where, and the remedy.
    The command line prints it without a traceback and exits with 2.
    """

    def as_option(self) -> str:
        """The sentence in the words of the command line: the message itself, where it names no setting."""
        return str(self)


class MissingOutputError(RuntimeError):
    """One of the things that were asked for could not be made; the others were.  The message says which and why."""


def require_whole(name: str, value: object, low: int, high: int | None = None) -> None:
    """InputError unless the value, an argument called `name`, is a whole number from low to high."""
    whole = hasattr(value, "__index__")
    if whole and low <= int(value) and (high is None or int(value) <= high):  # type: ignore[call-overload]
        return
    bounds = f"at least {low}" if high is None else f"between {low} and {high}"
    raise InputError(f"{name} must be {'' if whole else 'a whole number '}{bounds}, found {value!r}.")


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """InputError unless the value, an argument called `name`, is one of the choices."""
    if value not in choices:
        near = did_you_mean(value, choices, n=1) if isinstance(value, str) else ""
        raise InputError(f"{name} is {value!r}; expected {', '.join(choices[:-1])} or {choices[-1]}. {near}".rstrip())


def require_number(name: str, value: object, low: float, high: float, what: str = "") -> None:
    """InputError unless the value, an argument called `name`, is a number from low to high.  what: it is, in words."""
    number = hasattr(value, "__float__") and not isinstance(value, bool)
    if not number or not low <= float(value) <= high:  # type: ignore[arg-type]
        raise InputError(
            f"{name} must be {'' if number else 'a number '}between {low:g} and {high:g}{what}, found {value!r}."
        )


def require_path(name: str, value: object) -> None:
    """InputError unless the value, an argument called `name`, names a file or folder."""
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name} is {value!r:.80}; expected the path of a file or folder.")


def require_list(name: str, value: object, kind: type, words: str) -> tuple[Any, ...]:
    """The entries of the value, an argument called `name`.  InputError unless it lists `kind`, in `words`."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InputError(f"{name} is {value!r:.80}; expected a list of {words}.")
    entries = tuple(value)
    wrong = next((entry for entry in entries if not isinstance(entry, kind)), None)
    if wrong is not None:
        raise InputError(f"{name} has {wrong!r:.80}; expected {words}.")
    return entries


def did_you_mean(name: str, known: Iterable[str], *, n: int = 2, cutoff: float = 0.5, otherwise: str = "") -> str:
    """ "Did you mean A or B?" with the known names closest to `name`; `otherwise` where none is close.

    Upper and lower case count as the same.  n: how many names at most.  cutoff: how alike, 0 to 1.
    """
    import difflib

    names = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), names, n=n, cutoff=cutoff)
    return f"Did you mean {' or '.join(names[c] for c in close)}?" if close else otherwise


def describe(error: BaseException) -> str:
    """Somebody else's exception in one line: "RuntimeError: boom"."""
    text = " ".join(str(error).split())
    if len(text) > LONGEST:
        text = text[:LONGEST] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
