"""Attributes of HDF5 objects as plain Python values, and the JSON that many of them hold."""

from __future__ import annotations

import json
import math
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats import hdf5_budget
from dtql_robot.datasets.formats.hdf5_errors import reading, where
from dtql_robot.datasets.formats.hdf5_types import dtype_of, memory_type
from dtql_robot.errors import InputError

_LONG = 2**20  # bytes of a text whose place is worth naming in full


def attributes(node: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """All attributes as JSON-able Python values."""
    names: list[bytes] = []
    with reading(node, "(attributes)"):
        h5py.h5a.iterate(node.id, names.append)
        return {name.decode(errors="backslashreplace"): _attribute(node, name) for name in names}


def _attribute(node: h5py.Group | h5py.Dataset, name: bytes) -> Any:
    stored = h5py.h5a.open(node.id, name)
    number = _number(stored)
    if number is not None:
        return plain(number)
    key = name.decode(errors="surrogateescape")
    place = f"attribute {key!r}"
    count = math.prod(stored.shape or ())
    if count > 1 and stored.dtype.kind == "O":  # texts of any length, which may all be one and the same in the file
        hdf5_budget.take(count * hdf5_budget.largest_text(), f"{place} of {where(node)}")
    value = plain(node.attrs[name])
    if isinstance(value, str):
        size = len(value) * (1 if value.isascii() else 4)
        hdf5_budget.take(size, f"{place} of {where(node)}" if size > _LONG else place)
    return value


def _number(stored: h5py.h5a.AttrID) -> Any:
    """The value of an attribute that is one number or flag, as most are; None where it is something else."""
    if stored.get_space().get_simple_extent_type() != h5py.h5s.SCALAR:
        return None
    dtype = dtype_of(stored.get_type())
    if dtype.kind not in "biuf":
        return None
    value = np.empty((), dtype)
    stored.read(value, memory_type(dtype))
    return value[()]  # a scalar, not an array


def plain(value: Any) -> Any:
    """JSON-able form of an attribute: bytes become text, arrays lists, numpy scalars Python numbers, NaN "nan"."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.longdouble):
        return plain(float(value))
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, h5py.Empty):
        return None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


_YES = {"true", "yes", "1", "1.0", "success", "successful", "succeeded"}
_NO = {"false", "no", "0", "0.0", "failure", "failed", "fail", "unsuccessful"}


def as_flag(value: Any) -> bool | None:
    """The truth value that an attribute states, as a bool, 0 or 1, or a word; None where it states none."""
    if isinstance(value, list) and len(value) == 1:
        return as_flag(value[0])
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _YES else False if word in _NO else None
    return bool(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def parse_json_object(text: Any, place: str) -> dict[str, Any]:
    """`text` as a JSON object.  InputError naming `place` when it is none."""
    try:
        value = json.loads(text)  # with surrogates, as attributes have them whose bytes are not UTF-8
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{place} is not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise InputError(f"{place} is JSON of type {type(value).__name__}; expected an object.")
    return value
