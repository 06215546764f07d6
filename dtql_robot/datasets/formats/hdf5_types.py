"""NumPy's types for those of HDF5 and back, remembered: looking one up costs more than reading a short array."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import h5py
import numpy as np

_BOOL = np.dtype(bool)
_STORED_BOOL = h5py.h5t.py_create(_BOOL)


def dtype_of(kind: h5py.h5t.TypeID) -> np.dtype[Any]:
    """The NumPy type of values that a file stores as `kind`."""
    if kind.get_class() == h5py.h5t.ENUM and kind.equal(_STORED_BOOL):
        return _BOOL
    return kind.dtype


def memory_type(dtype: np.dtype[Any]) -> h5py.h5t.TypeID | None:
    """What HDF5 calls `dtype` in memory; None where the library has to find out by itself."""
    return None if dtype.metadata else _created(dtype)  # types that differ in their metadata alone are equal


@lru_cache(maxsize=64)
def _created(dtype: np.dtype[Any]) -> h5py.h5t.TypeID:
    return h5py.h5t.py_create(dtype)
