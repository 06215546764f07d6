"""Unpacking one chunk of a Zarr array, never to more bytes than the array's record says."""

from __future__ import annotations

import bz2
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dtql_robot.errors import InputError

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_OWN = {"zlib": 15, "gzip": 31}  # codec -> zlib's window bits
_NUMCODECS = ("blosc", "lz4", "zstd")
CODECS = (*_OWN, "bz2", *_NUMCODECS)
"""Compressions that are read."""


class ChunkError(ValueError):
    """A chunk that does not hold what its array's record says; the message says why."""


def decode(raw: bytes, compressor: Mapping[str, Any] | None, count: int) -> bytes:
    """The `count` bytes of a chunk.  ChunkError where it holds another number, InputError without its codec."""
    name = None if compressor is None else compressor.get("id")
    if name is None:
        found = raw
    elif name in _OWN:
        found = _unpacked(zlib.decompressobj(_OWN[name]), raw, count)
    elif name == "bz2":
        found = _unpacked(bz2.BZ2Decompressor(), raw, count)
    else:
        claimed = _CLAIMS[name](raw)
        if claimed != count:
            raise ChunkError(f"it claims {claimed} bytes instead of {count}")
        with_codec = codec(name)
        with _damage():
            found = bytes(with_codec.decode(raw))
    if len(found) != count:
        raise ChunkError(f"it has {len(found)} bytes instead of {count}")
    return found


def _unpacked(decompressor: Any, raw: bytes, count: int) -> bytes:
    """What a decompressor of Python's makes of `raw`, at most one byte more than `count`."""
    with _damage():
        found = bytes(decompressor.decompress(raw, count + 1))
    if len(found) <= count and not decompressor.eof:
        raise ChunkError("it is cut short")
    return found


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise ChunkError(f"it cannot be unpacked ({error})") from error


def codec(name: str) -> Any:
    """The codec of numcodecs.  InputError without that package."""
    try:
        import numcodecs
    except ModuleNotFoundError as error:
        raise InputError(
            f"The Zarr store is compressed with {name}, which needs numcodecs: `pip install 'dtql-robot[zarr]'`."
        ) from error
    return numcodecs.get_codec({"id": name})


def _blosc_claim(raw: bytes) -> int:
    """Blosc's header: four single bytes, then the sizes unpacked, of a block, and packed."""
    if len(raw) < 16:
        raise ChunkError("it is cut short")
    unpacked, _, packed = struct.unpack("<III", raw[4:16])
    if packed != len(raw):
        raise ChunkError(f"it has {len(raw)} bytes, of {packed}")
    return int(unpacked)


def _lz4_claim(raw: bytes) -> int:
    if len(raw) < 4:
        raise ChunkError("it is cut short")
    return int(struct.unpack("<I", raw[:4])[0])


def _zstd_claim(raw: bytes) -> int:
    """The content size in the header of a Zstandard frame (RFC 8878, 3.1.1.1)."""
    if len(raw) < 6 or raw[:4] != _ZSTD_MAGIC:
        raise ChunkError("it is no Zstandard frame")
    described = raw[4]
    single = bool(described & 0x20)
    start = 5 + (not single) + (0, 1, 2, 4)[described & 3]
    size = ((1 if single else 0), 2, 4, 8)[described >> 6]
    if size == 0 or len(raw) < start + size:
        raise ChunkError("it does not say how large it is unpacked")
    return int.from_bytes(raw[start : start + size], "little") + (256 if size == 2 else 0)


_CLAIMS = {"blosc": _blosc_claim, "lz4": _lz4_claim, "zstd": _zstd_claim}
