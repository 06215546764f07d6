"""The search for text storage in a file's bytes finds what `bytes.find` finds, wherever it stands."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from dtql_robot.datasets.formats import hdf5_heap

SIGNATURE = b"GCOL\x01"


def found_in(path: Path, content: bytes) -> list[int]:
    path.write_bytes(content)
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return list(hdf5_heap._signatures(mapped, len(content)))


def found_by_find(content: bytes) -> list[int]:
    found, start = [], content.find(SIGNATURE)
    while start >= 0:
        found.append(start)
        start = content.find(SIGNATURE, start + 1)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_signatures_at_any_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Odd and even places, at the borders of what is looked at together, cut off at either end, close together."""
    monkeypatch.setattr(hdf5_heap, "_STRIDE", 64)
    monkeypatch.setattr(hdf5_heap, "_WINDOW", mmap.PAGESIZE)
    rng = np.random.default_rng(seed)
    size = 3 * mmap.PAGESIZE - seed
    content = bytearray(rng.choice(np.frombuffer(b"GCOL\x01\0", np.uint8), size).tobytes())
    for start in (
        *range(59, 67),
        *range(mmap.PAGESIZE - 6, mmap.PAGESIZE + 2),
        size - 3,
        size - 5 - seed,
        *rng.integers(0, size - 5, 99),
    ):
        content[start : start + 5] = SIGNATURE[: size - start]
    content[:4] = SIGNATURE[1:]
    expected = found_by_find(bytes(content))
    assert len(expected) > 50
    assert found_in(tmp_path / "f", bytes(content)) == expected


@pytest.mark.parametrize(
    "content", [b"G", b"GC", b"GCOL", SIGNATURE, b"\0" + SIGNATURE, SIGNATURE + b"G", SIGNATURE[1:]]
)
def test_short_files(tmp_path: Path, content: bytes) -> None:
    assert found_in(tmp_path / "f", content) == found_by_find(content)
