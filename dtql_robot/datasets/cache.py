"""The second load of a large file: mapped from a packed copy that is known to hold the same content.

The copy's name is a digest of the file's bytes and of what was asked of it, so an edited file is simply another one,
whatever its name says; the digest of an untouched file is remembered.  Copies live in $DTQL_ROBOT_CACHE (by default
~/.cache/dtql_robot; "off" switches the cache off); the ones used longest ago are deleted when all together exceed
$DTQL_ROBOT_CACHE_GB (20).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.packed_copy import INDEX, Packer, unpack
from dtql_robot.errors import InputError
from dtql_robot.system.cores import usable_cores
from dtql_robot.system.files import new_folder
from dtql_robot.system.remembered import cache_folder, remembered
from dtql_robot.types import Episode

SMALLEST = 32 * 2**20  # bytes of a file from which a copy is worth its disk space
_FORMAT = "3"  # of what the adapters make of a file; raise it when they change
_BLOCK = 16 * 2**20
_LIMIT_GB = 20.0
LIMIT = "DTQL_ROBOT_CACHE_GB"


def content_digest(path: Path) -> str:
    """Digest of all bytes of the file: of the digests of its blocks, which are made on all cores."""
    total = hashlib.sha256(str(path.stat().st_size).encode())
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        view = memoryview(content)
        with ThreadPoolExecutor(usable_cores()) as pool:
            starts = range(0, len(view), _BLOCK)
            for digest in pool.map(lambda i: hashlib.sha256(view[i : i + _BLOCK]).digest(), starts):
                total.update(digest)
        view.release()
    return total.hexdigest()


def read_through(
    path: Path,
    asked: dict[str, Any],
    read: Callable[[Callable[[Episode], Episode] | None], Reading],
    smallest: int = SMALLEST,
) -> Reading:
    """The copy of `path` for what is `asked`, made first where there is none; small files are read directly.

    read: reads the file, and hands every episode to the given function first (None: keeps them).
    """
    root = cache_folder()
    if root is None or path.stat().st_size < smallest:
        return read(None)
    sidecar, digest = _sidecar(path), remembered(path, "sha256", content_digest)
    question = json.dumps([_FORMAT, digest, sidecar, asked])
    folder = root / hashlib.sha256(question.encode()).hexdigest()[:32]
    found = _mapped(folder)
    if found is not None:
        return found
    _check_writable(root)
    with new_folder(folder, INDEX, overwrite=True) as temporary:
        packer = Packer(temporary)
        packer.finish(read(packer.add))
    _evict(root, keep=folder)
    found = _mapped(folder)
    return read(None) if found is None else found


def _check_writable(root: Path) -> None:
    """InputError with the remedy where copies cannot be kept."""
    reason = "it is read-only"
    try:
        root.mkdir(parents=True, exist_ok=True)
        writable = os.access(root, os.W_OK)
    except OSError as error:
        reason, writable = error.strerror or str(error), False
    if not writable:
        raise InputError(f"{root}, where copies of large files are kept, cannot be written to: {reason}. Name another "
                         "folder with DTQL_ROBOT_CACHE, or do without copies: DTQL_ROBOT_CACHE=off.")  # fmt: skip


def _limit() -> float:
    """Bytes that all copies may take together."""
    chosen = os.environ.get(LIMIT) or str(_LIMIT_GB)
    try:
        return float(chosen) * 1e9
    except ValueError as error:
        raise InputError(f"{LIMIT} is {chosen!r}; a number of gigabytes was expected.") from error


def _sidecar(path: Path) -> str:
    """Content of a Minari dataset's metadata.json, which is read along."""
    with contextlib.suppress(OSError, ValueError):
        return path.with_name("metadata.json").read_text(encoding="utf-8")
    return ""


def _mapped(folder: Path) -> Reading | None:
    try:
        found = unpack(folder, "")
        os.utime(folder / INDEX)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or not whole: made anew
    return found


def _evict(root: Path, keep: Path) -> None:
    """Delete the copies used longest ago until all fit the limit."""
    limit = _limit()
    copies = [p.parent for p in root.glob(f"*/{INDEX}")]
    with contextlib.suppress(OSError):
        copies.sort(key=lambda folder: (folder / INDEX).stat().st_mtime, reverse=True)
        copies.sort(key=lambda folder: folder != keep)
        total = 0.0
        for folder in copies:
            total += sum(f.stat().st_size for f in folder.iterdir())
            if total > limit and folder != keep:
                shutil.rmtree(folder, ignore_errors=True)
