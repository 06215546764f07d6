"""Checks of settings when they are made, with messages in the words of the place: Python or the command line."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import os
import re
import types
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dtql_robot.errors import InputError, did_you_mean
from dtql_robot.system.plugins import installed, is_installed

Activation = Literal["relu", "silu", "gelu", "mish"]

WIDEST = 16_384
"""Largest width of a layer."""


@dataclasses.dataclass(frozen=True)
class Own:
    """Mark of a setting that is text: the values that are this package's own; installed packages may add others."""

    values: tuple[str, ...]


class SettingError(InputError):
    """A setting with a value that cannot be.

    The message names settings as Python does; `as_option` is the same sentence for the command line.  In `expected`,
    other settings stand in braces: "1 to {horizon}", "1 with {policy=implicit}".
    """

    def __init__(self, setting: str, value: object, expected: str) -> None:
        self.setting, self.value, self.expected = setting, value, expected
        super().__init__(f"{setting} is {_shown(value)}; expected {re.sub(r'[{}]', '', expected)}{_stop(expected)}")

    def __reduce__(self) -> tuple[type[SettingError], tuple[str, object, str]]:
        return type(self), (self.setting, self.value, self.expected)

    def as_option(self) -> str:
        """The sentence in the words of the command line."""
        expected = re.sub(r"{(\w+)(?:=(\w+))?}", lambda m: option(m[1]) + (f" {m[2]}" if m[2] else ""), self.expected)
        expected = expected.replace("None", "no value") + _stop(expected)
        return f"{option(self.setting)} is {_words(self.value)}; expected {expected}"


def _stop(sentence: str) -> str:
    return "" if sentence.endswith("?") else "."


def option(setting: str) -> str:
    """The command line's name of a setting: lr_decay -> --lr-decay."""
    return "--" + setting.replace("_", "-")


_deferred: ContextVar[bool] = ContextVar("deferred", default=False)


@contextmanager
def deferred() -> Iterator[None]:
    """Settings that are made in the block are not checked: `checked` does it afterwards.

    The command line's parser would catch the error, and word it as if the text could not be read.
    """
    token = _deferred.set(True)
    try:
        yield
    finally:
        _deferred.reset(token)


def checked(options: Any) -> Any:
    """The same dataclass, with it and all dataclasses in its fields made once more, and so checked."""
    parts = {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.init}
    made = {name: checked(part) for name, part in parts.items() if dataclasses.is_dataclass(part)}
    return dataclasses.replace(options, **made)


def require(condition: bool, setting: str, value: object, expected: str) -> None:
    """SettingError unless the condition holds."""
    if not condition and not _deferred.get():
        raise SettingError(setting, value, expected)


def require_known(obj: object, setting: str, own: tuple[str, ...], group: str) -> None:
    """SettingError unless the setting is one of this package's `own` names or one that an installed package adds.

    group: of entry points, see `system.plugins`.  InputError where a package takes one of the own names.
    """
    value = getattr(obj, setting)
    if _deferred.get() or is_installed(group, value, own) or value in own:
        return
    names = (*own, *installed(group))
    near = did_you_mean(value, names, n=1)
    expected = f"{', '.join(names[:-1])} or {names[-1]}"
    raise SettingError(setting, value, f"{expected}; {near[0].lower()}{near[1:]}" if near else expected)


def in_range(obj: object, low: float, high: float, *settings: str) -> None:
    """SettingError where one of these settings of `obj`, or an entry of it, is not in [low, high]; None passes."""
    for setting in settings:
        value = getattr(obj, setting)
        entries = value if isinstance(value, tuple) else () if value is None else (value,)
        each = "each entry " if isinstance(value, tuple) else ""
        require(all(low <= entry for entry in entries), setting, value, f"{each}at least {_number(low)}")
        require(all(entry <= high for entry in entries), setting, value, f"{each}at most {_number(high)}")


def _number(value: float) -> str:
    return f"{value:,}".replace(",", "_") if isinstance(value, int) else f"{value:g}"


def _shown(value: object) -> str:
    """repr, cut where it is long."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return "a number of more than 38 digits"  # Python refuses to print some
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _words(value: object) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(_words, value)) or "empty"
    return value if isinstance(value, str) and value else _shown(value)


def check_types(obj: Any) -> None:
    """Hold every field of a frozen dataclass to its annotation.

    Lists become tuples, NumPy's scalars Python's, paths text.  SettingError for everything else that does not fit, and
    for numbers that are NaN or infinite.
    """
    if _deferred.get():
        return
    kind: Any = type(obj)
    hints = _hints(kind)
    for f in dataclasses.fields(obj):
        value = getattr(obj, f.name)
        plain = _plain(value)
        if not _fits(plain, hints[f.name]):
            raise SettingError(f.name, value, _expected(plain, hints[f.name]))
        if plain is not value:
            object.__setattr__(obj, f.name, plain)


@functools.cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return get_type_hints(cls)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        made = tuple(map(_plain, value))
        return value if isinstance(value, tuple) and all(a is b for a, b in zip(made, value, strict=True)) else made
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value == a and type(value) is type(a) for a in arguments)
    if origin in (Union, types.UnionType):
        return any(_fits(value, a) for a in arguments)
    if origin is tuple:  # of any length
        return isinstance(value, tuple) and all(_fits(v, arguments[0]) for v in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str) and "\0" not in value
    return isinstance(value, hint)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:  # an int beyond float's range
        return False


def _expected(value: Any, hint: Any) -> str:
    choices = [c for c in _choices(hint) if isinstance(c, str)]
    near = difflib.get_close_matches(value, choices, 1) if isinstance(value, str) else []
    return _describe(hint) + (f"; did you mean {near[0]}?" if near else "")


def _choices(hint: Any) -> list[Any]:
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [c for a in get_args(hint) for c in _choices(a)]


NAMES = {int: "a whole number", float: "a finite number", bool: "True or False", str: "text", type(None): "None"}
MANY = {int: "whole numbers", str: "texts"}


def _describe(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(filter(None, [", ".join(map(str, arguments[:-1])), str(arguments[-1])]))
    if origin in (Union, types.UnionType):
        return " or ".join(map(_describe, arguments))
    if origin is tuple:
        choices = _choices(arguments[0])
        return f"a tuple of {', '.join(choices) if choices else MANY[arguments[0]]}"
    return NAMES.get(hint) or hint.__name__
