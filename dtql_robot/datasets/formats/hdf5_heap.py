"""Guard against the one damage on which the HDF5 library does not stop.

Text attributes live in "global heap" collections (signature GCOL): a 16-byte header, then objects, each a 16-byte
header (index 2, references 2, reserved 4, size 8, little-endian) and its bytes, padded to 8; index 0 is free space,
whose size counts its header.  The library walks them without checking: a free object of size 0 is an endless loop.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from dtql_robot.errors import InputError
from dtql_robot.system.remembered import remembered

_HEADER = 16
_SIGNATURE = b"GCOL\x01"
_WINDOW = 32 * 2**20
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
        for window in range(0, size, _WINDOW):
            end = window + _WINDOW + len(_SIGNATURE) - 1
            start = content.find(_SIGNATURE, window, end)
            while start >= 0:
                largest = max(largest, found := _largest_in(content, start, size))
                if found < 0:
                    raise InputError(
                        f"{path} cannot be read (its text storage at byte {start} is malformed). "
                        "The file is damaged or incomplete: fetch it again."
                    )
                start = content.find(_SIGNATURE, start + 1, end)
            if hasattr(mmap, "MADV_DONTNEED"):  # what was read once need not stay in memory
                content.madvise(mmap.MADV_DONTNEED, window, min(_WINDOW, size - window))
    return largest


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
