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
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.packed_copy import INDEX, CannotPackError, Packer, unpack
from dtql_robot.errors import InputError
from dtql_robot.system.files import new_folder
from dtql_robot.system.remembered import cache_folder, content_digest, remembered
from dtql_robot.types import Episode

SMALLEST = 32 * 2**20  # bytes of a file from which a copy is worth its disk space
_FORMAT = "6"  # of what the adapters make of a file; raise it when they change
_LIMIT_GB = 20.0
LIMIT = "DTQL_ROBOT_CACHE_GB"


@dataclass(frozen=True)
class Content:
    """What is read of a folder.  files: names in it.  size: bytes of the arrays that come of them."""

    files: tuple[str, ...]
    size: int


def read_through(
    path: Path,
    asked: dict[str, Any],
    read: Callable[[Callable[[Episode], Episode] | None], Reading],
    smallest: int = SMALLEST,
    *,
    content: Content | None = None,
) -> Reading:
    """The copy of `path` for what is `asked`, made first where there is none; small files are read directly.

    read: reads the file, and hands every episode to the given function first (None: keeps them).
    content: where `path` is a folder, what is read of it besides all that lies in its folder `meta`.
    """
    root = cache_folder()
    size = path.stat().st_size if content is None else content.size
    if root is None or size < smallest:
        return read(None)
    limit = _limit()
    digest = remembered(path, "sha256", content_digest) if content is None else _folder_digest(path, content)
    question = json.dumps([_FORMAT, digest, _sidecar(path), asked])
    folder = root / hashlib.sha256(question.encode()).hexdigest()[:32]
    found = _mapped(folder)
    if found is None and _pack(path, size, folder, read):
        _evict(root, limit, keep=folder)
        found = _mapped(folder)
    return read(None) if found is None else found


def _folder_digest(root: Path, content: Content) -> str:
    """Of the names and contents of the files that are read."""
    notes = sorted(p.relative_to(root).as_posix() for p in (root / "meta").rglob("*") if p.is_file())
    digests = {name: remembered(root / name, "sha256", content_digest) for name in (*notes, *content.files)}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _pack(path: Path, size: int, folder: Path, read: Callable[[Callable[[Episode], Episode] | None], Reading]) -> bool:
    """Make the copy; False, and a note to the user, where the disk does not allow it.  Errors of `read` are its own."""
    unreadable: list[InputError] = []
    try:
        _check_room(folder.parent, size)
        with new_folder(folder, INDEX, overwrite=True) as temporary:
            packer = Packer(temporary)
            try:
                packer.finish(read(packer.add))
            except InputError as refused:
                unreadable.append(refused)
                raise
            finally:
                packer.close()
    except (CannotPackError, InputError) as error:
        if error in unreadable:
            raise
        print(
            f"note: {path.name} is read without a copy, because {folder.parent} has no room for one: {error}. Set "
            "another folder with DTQL_ROBOT_CACHE, or switch copies off with DTQL_ROBOT_CACHE=off.",
            file=sys.stderr,
        )
        return False
    return True


def _check_room(root: Path, size: int) -> None:
    """CannotPackError where `root` cannot be written to, or has less than `size` bytes left."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise CannotPackError(error.strerror or str(error)) from error
    if not os.access(root, os.W_OK):
        raise CannotPackError("it is read-only")
    if free < size:
        raise CannotPackError(f"{free / 1e9:.3g} GB are free, {size / 1e9:.3g} GB are needed")


def _limit() -> float:
    """Bytes that all copies may take together."""
    chosen = os.environ.get(LIMIT) or str(_LIMIT_GB)
    with contextlib.suppress(ValueError):
        if float(chosen) >= 0:
            return float(chosen) * 1e9
    raise InputError(f"{LIMIT} is {chosen!r}; expected a number of gigabytes.")


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


def _evict(root: Path, limit: float, keep: Path) -> None:
    """Delete the copies used longest ago until all fit the limit, in bytes."""
    copies = [p.parent for p in root.glob(f"*/{INDEX}")]
    with contextlib.suppress(OSError):
        copies.sort(key=lambda folder: (folder / INDEX).stat().st_mtime, reverse=True)
        copies.sort(key=lambda folder: folder != keep)
        total = 0.0
        for folder in copies:
            total += sum(f.stat().st_size for f in folder.iterdir())
            if total > limit and folder != keep:
                shutil.rmtree(folder, ignore_errors=True)
