"""Whether a data set's record of its environment can be right, found out once, where it is read.

What passes has the types that every reader of the record counts on; what does not is one sentence that names the entry.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dtql_robot.env_record.record import CAMERA_VIEWS, EVAL_SPEC, GYM_SPEC, OWN_SPEC
from dtql_robot.errors import InputError

MAX_STEPS = 10**9
"""No episode is longer; a larger time limit is a damaged number."""
MAX_FREQUENCY = 100_000  # Hz
MAX_PIXELS = 16_384
_DEPTH = 100
_TEXTS = ("env_name", "id", OWN_SPEC, "entry_point")
_OBJECTS = ("env_kwargs", "kwargs", GYM_SPEC, EVAL_SPEC, CAMERA_VIEWS)


def check_record(env_args: Mapping[str, Any], place: str) -> dict[str, Any]:
    """`env_args` as JSON can write it again (an infinite bound becomes the largest number).  InputError naming `place`.

    place: where the record stands, e.g. "attribute 'env_args' of 'data' in lift.hdf5".
    """
    record = _finite(dict(env_args), place)
    for key in _TEXTS:
        _expect(record, key, place, "text", lambda v: isinstance(v, str))
    for key in _OBJECTS:
        _expect(record, key, place, "an object", lambda v: isinstance(v, dict))
    _expect(record, "type", place, "a number or text", _is_number_or_text)
    _expect(record, "env_version", place, "a number or text", _is_number_or_text)
    for key in (GYM_SPEC, EVAL_SPEC):
        if record.get(key) is not None:
            record[key] = check_record(record[key], f"{key!r} of {place}")
    _expect(record.get(CAMERA_VIEWS) or {}, None, place, "objects", lambda v: isinstance(v, dict))
    for arguments in (record, record.get("env_kwargs"), record.get("kwargs")):
        if arguments:
            _check_arguments(arguments, place)
    return record


def _check_arguments(kwargs: dict[str, Any], place: str) -> None:
    """The arguments that this package or robosuite computes with."""
    _expect(
        kwargs,
        "max_episode_steps",
        place,
        f"a whole number from 1 to {MAX_STEPS}",
        lambda v: _is_number(v) and v == int(v) and 1 <= v <= MAX_STEPS,
    )
    _expect(
        kwargs,
        "control_freq",
        place,
        f"a number above 0 and up to {MAX_FREQUENCY} (Hz)",
        lambda v: _is_number(v) and 0 < v <= MAX_FREQUENCY,
    )
    _expect(kwargs, "robots", place, "a name or a list of names", _is_names)
    _expect(kwargs, "camera_names", place, "a name or a list of names", _is_names)
    _expect(kwargs, "controller_configs", place, "an object or a list of objects", _is_configs)
    for key in ("camera_heights", "camera_widths"):
        _expect(
            kwargs,
            key,
            place,
            f"a whole number from 1 to {MAX_PIXELS}, or one for each of camera_names",
            lambda v: _is_sizes(v, kwargs.get("camera_names")),
        )


def _expect(values: Mapping[str, Any], key: str | None, place: str, what: str, holds: Any) -> None:
    """InputError unless `holds` is true of the entry `key` (None: of every entry); what is absent or null passes."""
    for name in list(values) if key is None else [key]:
        value = values.get(name)
        if value is not None and not holds(value):
            raise InputError(f"{place}: {name!r} is {_short(value)}; expected {what}. Fix the record.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_number_or_text(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


def _is_pixels(value: Any) -> bool:
    return _is_number(value) and value == int(value) and 1 <= value <= MAX_PIXELS


def _is_sizes(value: Any, cameras: Any) -> bool:
    """One size for all cameras, or a list of one for each."""
    if not isinstance(value, list):
        return _is_pixels(value)
    fits = not isinstance(cameras, list) or len(value) == len(cameras)
    return fits and all(map(_is_pixels, value))


def _is_names(value: Any) -> bool:
    names: Sequence[Any] = value if isinstance(value, list) else [value]
    return all(isinstance(name, str) and name for name in names)


def _is_configs(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and all(v is None or isinstance(v, dict) for v in value))


def _finite(value: Any, place: str, depth: int = 0) -> Any:
    """A copy in which infinity is the largest number.  InputError for NaN and for endless nesting."""
    if depth > _DEPTH:
        raise InputError(f"{place} is nested more than {_DEPTH} levels deep, which no environment's record is.")
    if isinstance(value, dict):
        return {str(key): _finite(item, place, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item, place, depth + 1) for item in value]
    if isinstance(value, float) and math.isnan(value):
        raise InputError(f"{place} holds a NaN; expected numbers. Fix the record.")
    if isinstance(value, float) and math.isinf(value):
        return math.copysign(sys.float_info.max, value)
    return value
