"""Where the states of a buffer live: in memory where they fit, else in a file that is mapped."""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np
import torch

from dtql_robot.errors import InputError
from dtql_robot.system.memory import free_memory
from dtql_robot.system.remembered import cache_folder
from dtql_robot.types import Array

DType = type[np.float32] | type[np.uint8]

AROUND = 64 * 1024  # bytes that Linux maps around a row that is read, where they are in its own cache
LIMIT = "DTQL_ROBOT_MEMORY_GB"


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def memory_budget(device: torch.device) -> int:
    """Bytes that states may take: $DTQL_ROBOT_MEMORY_GB, else half of what is free on the device."""
    chosen = os.environ.get(LIMIT)
    if not chosen:
        return free_bytes(device) // 2
    try:
        return int(float(chosen) * 1e9)
    except ValueError as error:
        raise InputError(f"{LIMIT} is {chosen!r}; expected a number of gigabytes.") from error


def allocate_rows(rows: int, size: int, dtype: DType, device: torch.device, memory_limit: int | None = None) -> Array:
    """An empty (rows, size) array; a np.memmap of a nameless file where it exceeds the limit (bytes)."""
    needed = rows * size * np.dtype(dtype).itemsize
    if needed <= (memory_budget(device) if memory_limit is None else memory_limit):
        return np.empty((rows, size), dtype)
    folder = cache_folder()
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:  # the mapping keeps it; no name, so nothing is left behind
            if hasattr(os, "posix_fallocate"):  # a full disk is an error here, not a crash when it is written to
                os.posix_fallocate(file.fileno(), 0, needed)
            states = np.memmap(file, dtype, "r+", shape=(rows, size))
            if hasattr(mmap, "MADV_RANDOM"):
                states._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined] # samples are scattered
            return states
    except OSError as error:
        raise InputError(
            f"The observations need {needed / 1e9:.1f} GB on disk in {folder or tempfile.gettempdir()}: "
            f"{error.strerror}. Set DTQL_ROBOT_CACHE to a folder on a larger disk."
        ) from error


class MappedStates:
    """Rows of a mapped array, of which at most about `max_resident` bytes stay in memory.

    The array is let go of as a whole at times; its parts are read again when they are needed, mostly from the
    operating system's own cache.
    """

    def __init__(self, states: np.memmap, max_resident: int = 2**30) -> None:
        self.states = states
        self._mapping: mmap.mmap = states._mmap  # type: ignore[attr-defined]
        self._max_resident = max_resident
        self._resident = 0

    def rows(self, index: Array) -> Array:
        """The rows at `index` (B,), copied.  By numpy: torch would wake all its threads for a few kilobytes."""
        self._resident += len(index) * (self.states.shape[1] * self.states.itemsize + AROUND)
        if self._resident > self._max_resident:
            self.drop()
        return np.asarray(self.states[index])

    def drop(self) -> None:
        """Let go of everything."""
        self._resident = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self._mapping.madvise(mmap.MADV_DONTNEED)
