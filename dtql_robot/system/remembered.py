"""What was once found out about a file's content, remembered for as long as the file is untouched.

Untouched means the same device, inode, size, modification and change time: the operating system sets the change time at
every write and at every attempt to set the clock of the modification time back, so it cannot be faked by copying tools.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dtql_robot.errors import InputError
from dtql_robot.system.cores import usable_cores

_BLOCK = 16 * 2**20
_IN_PROCESS: dict[str, str] = {}


def cache_folder() -> Path | None:
    """Where copies and notes live; None where the cache is switched off, or where there is no home to keep it in."""
    chosen = os.environ.get("DTQL_ROBOT_CACHE", "")
    if chosen.lower() in {"off", "0", "none"}:
        return None
    try:
        if chosen:
            return Path(chosen).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtql_robot"
    except RuntimeError as error:  # no HOME, and no entry among the system's users
        if chosen:
            raise InputError(f"DTQL_ROBOT_CACHE is {chosen!r}, but there is no such home folder.") from error
        return None


def remembered(path: Path, question: str, answer: Callable[[Path], str]) -> str:
    """`answer(path)`, from the notes where the same was asked of the untouched file before."""
    stat = path.stat()
    identity = (question, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
    if key in _IN_PROCESS:
        return _IN_PROCESS[key]
    root = cache_folder()
    note = None if root is None else root / "notes" / key
    found = ""
    if note is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = note.read_text(encoding="ascii")
    if not found:
        found = answer(path)
        if note is not None:
            _write(note, found)
    _IN_PROCESS[key] = found
    return found


def _write(note: Path, text: str) -> None:
    temporary = note.with_name(f".{note.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):  # a full or read-only disk costs time, not correctness
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="ascii")
            os.replace(temporary, note)
        except OSError:
            temporary.unlink(missing_ok=True)


def content_digest(path: Path) -> str:
    """Digest of all bytes of the file: of the digests of its blocks, which are made on all cores."""
    size = path.stat().st_size
    total = hashlib.sha256(str(size).encode())
    if not size:
        return total.hexdigest()
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        view = memoryview(content)
        with ThreadPoolExecutor(usable_cores()) as pool:
            starts = range(0, len(view), _BLOCK)
            for digest in pool.map(lambda i: hashlib.sha256(view[i : i + _BLOCK]).digest(), starts):
                total.update(digest)
        view.release()
    return total.hexdigest()
