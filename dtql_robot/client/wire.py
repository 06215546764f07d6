"""Messages as bytes: msgpack, with NumPy arrays as openpi's websocket policies have them.

An array is the map {b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [H, A]}, a NumPy scalar is
{b"__npgeneric__": True, b"data": number, b"dtype": "<f4"}.  Nothing that is read is ever executed.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

_KINDS = "biuf"  # booleans and numbers
_LONGEST_DTYPE = 8


def pack(message: Any) -> bytes:
    """message: dictionaries, lists, text, numbers and arrays of numbers.  TypeError for anything else."""
    return msgpack.packb(message, default=_encoded)


def unpack(data: bytes) -> Any:
    """What `pack` was given; arrays are copies and may be changed.  ValueError for anything that it does not write."""
    try:
        return msgpack.unpackb(data, object_hook=_decoded)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ValueError(f"the message is not msgpack as it was agreed on ({type(error).__name__}: {error})") from error


def _encoded(value: Any) -> dict[bytes, Any]:
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in _KINDS:
        raise TypeError(f"only numbers can be sent, not {getattr(value, 'dtype', type(value).__name__)}")
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}


def _decoded(found: dict[Any, Any]) -> Any:
    if b"__ndarray__" in found:
        kind, shape, data = _dtype(found[b"dtype"]), found[b"shape"], found[b"data"]
        if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) * kind.itemsize != len(data):
            raise ValueError(f"an array has {len(data)} bytes for shape {shape} of {kind}")
        return np.frombuffer(data, kind).reshape(shape).copy()
    if b"__npgeneric__" in found:
        return _dtype(found[b"dtype"]).type(found[b"data"])
    return found


def _dtype(name: Any) -> np.dtype[Any]:
    if not isinstance(name, str) or len(name) > _LONGEST_DTYPE or (kind := np.dtype(name)).kind not in _KINDS:
        raise ValueError(f"an array is of {name!r}, not of numbers")
    return kind
