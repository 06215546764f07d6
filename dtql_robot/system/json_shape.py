"""Checks that a value read from JSON has the shape that its reader relies on."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

Shape = Callable[[Any], "str | None"]
"""Tells what is wrong with a value, in words that follow its name; None where nothing is."""


LARGEST = sys.float_info.max


def text(value: Any) -> str | None:
    """A string."""
    return None if isinstance(value, str) else _found(value, "text")


def whole(value: Any) -> str | None:
    """An integer of 64 bits."""
    good = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return None if good else _found(value, "a whole number")


def number(value: Any) -> str | None:
    """A finite number."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    return None if good else _found(value, "a finite number")


def yes_or_no(value: Any) -> str | None:
    """true or false."""
    return None if isinstance(value, bool) else _found(value, "true or false")


def mapping(value: Any) -> str | None:
    """An object of any content."""
    return None if isinstance(value, dict) else _found(value, "an object")


def optional(shape: Shape) -> Shape:
    """null, or what `shape` asks for."""
    return lambda value: None if value is None else shape(value)


def between(low: float, high: float) -> Shape:
    """A number in [low, high]."""

    def check(value: Any) -> str | None:
        return number(value) or (None if low <= value <= high else _found(value, f"a number from {low} to {high}"))

    return check


def list_of(shape: Shape, *, at_least: int = 0, at_most: float = math.inf) -> Shape:
    """A list whose entries all have one shape."""

    def check(value: Any) -> str | None:
        if not isinstance(value, list):
            return _found(value, "a list")
        if not at_least <= len(value) <= at_most:
            return f"has {len(value)} entries, too {'few' if len(value) < at_least else 'many'}"
        return next((f"[{i}] {wrong}" for i, v in enumerate(value) if (wrong := shape(v))), None)

    return check


def object_of(shapes: Mapping[str, Shape], maybe: Mapping[str, Shape] | None = None) -> Shape:
    """An object that has all keys of `shapes`; those of `maybe` may be missing, others may be there too."""

    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return _found(value, "an object")
        missing = sorted(set(shapes) - set(value))
        if missing:
            return f"lacks {', '.join(missing)}"
        wanted = {**shapes, **{k: v for k, v in (maybe or {}).items() if k in value}}
        return next((f"{key} {wrong}" for key, shape in wanted.items() if (wrong := shape(value[key]))), None)

    return check


def values_of(shape: Shape) -> Shape:
    """An object of any keys, whose values all have one shape."""

    def check(value: Any) -> str | None:
        return mapping(value) or next((f"{k} {wrong}" for k, v in value.items() if (wrong := shape(v))), None)

    return check


def _found(value: Any, expected: str) -> str:
    shown = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of many digits"
    return f"is {shown if len(shown) <= 40 else shown[:37] + '...'}; expected {expected}"
