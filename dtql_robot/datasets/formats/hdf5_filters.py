"""Compression that HDF5 itself does not bring: blosc, zstd and others, as the package hdf5plugin has them."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import h5py

_BUILT_IN = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
_NAMES = {
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32018: "fcidecomp",
    32024: "sz3",
    32026: "blosc2",
    32028: "sperr",
}


def missing_filter(stored: Any) -> str | None:
    """The name of a compression among a dataset's creation properties that cannot be undone here; None: all can."""
    for index in range(stored.get_nfilters()):
        code, _, _, label = stored.get_filter(index)
        if code not in _BUILT_IN and not _available(code):
            return _NAMES.get(code, label.decode(errors="replace") or f"number {code}")
    return None


def _available(code: int) -> bool:
    if not h5py.h5z.filter_avail(code):
        with contextlib.suppress(ImportError):
            importlib.import_module("hdf5plugin")  # which makes its filters known to HDF5
    return bool(h5py.h5z.filter_avail(code))
