"""Guard against the one damage on which the HDF5 library does not stop.

Text attributes live in "global heap" collections (signature GCOL): a 16-byte header, then objects, each a 16-byte
header (index 2, references 2, reserved 4, size 8, little-endian) and its bytes, padded to 8; index 0 is free space,
whose size counts its header.  The library walks them without checking: a free object of size 0 is an endless loop.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dtql_robot.errors import InputError
from dtql_robot.system.remembered import remembered

_HEADER = 16
_SIGNATURE = b"GCOL\x01"
_AT_EVEN, _AT_ODD = (int.from_bytes(pair, "little") for pair in (b"GC", b"CO"))
_WINDOW = 32 * 2**20  # bytes that are kept in memory
_STRIDE = 2**19  # bytes that are searched at once: what fits a core's cache
_LARGE = 2**28  # bytes from which it is worth remembering that a file was looked at


def largest_text(path: Path) -> int:
    """Bytes of the largest object in its global heaps.  InputError if one of them cannot be walked to its end."""
    size = path.stat().st_size
    if size >= _LARGE:
        return int(remembered(path, "largest text", lambda p: str(_walk_all(p))))
    return _walk_all(path) if size else 0


def _walk_all(path: Path) -> int:
    size, largest = path.stat().st_size, 0
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for start in _signatures(content, size):
            largest = max(largest, found := _largest_in(content, start, size))
            if found < 0:
                raise InputError(
                    f"{path} cannot be read (its text storage at byte {start} is malformed). "
                    "The file is damaged or incomplete: fetch it again."
                )
    return largest


def _signatures(content: mmap.mmap, size: int) -> Iterator[int]:
    """Where the signature stands, in order."""
    for window in range(0, size, _WINDOW):
        for start in range(window, min(window + _WINDOW, size), _STRIDE):
            yield from _signatures_from(content, start, min(_STRIDE, size - start))
        if hasattr(mmap, "MADV_DONTNEED"):  # what was read once need not stay in memory
            content.madvise(mmap.MADV_DONTNEED, window, min(_WINDOW, size - window))


def _signatures_from(content: mmap.mmap, start: int, count: int) -> list[int]:
    """Those of which a pair of bytes that begins at an even offset lies in `count` bytes.

    Each has exactly one such pair, GC, or CO where it begins at an odd offset: a third of the time that `find` takes.
    """
    values, pairs = np.frombuffer(content, np.uint8), np.frombuffer(content, "<u2", count // 2, start)
    odd = pairs == _AT_ODD
    near = np.flatnonzero((pairs == _AT_EVEN) | odd)
    at = start + 2 * near - odd[near]
    at = at[(at >= 0) & (at + len(_SIGNATURE) <= len(values))]
    for offset, value in enumerate(_SIGNATURE):
        at = at[values[at + offset] == value]
    return at.tolist()


def _largest_in(content: mmap.mmap, start: int, file_size: int) -> int:
    """Bytes of the largest object in one collection; -1 where it cannot be walked."""
    if content[start + 5 : start + 8] != bytes(3) or start + _HEADER > file_size:
        return 0  # these bytes are values that look like a signature
    (collection,) = struct.unpack_from("<Q", content, start + 8)
    if start + collection > file_size:
        return 0  # the library refuses it
    position, largest = _HEADER, 0
    while position + _HEADER <= collection:
        index, size = struct.unpack_from("<H6xQ", content, start + position)
        step = size if index == 0 else _HEADER + (size + 7) // 8 * 8
        if step == 0 or position + step > collection:
            return -1
        largest = max(largest, size if index else 0)
        position += step
    return largest
