"""Files and folders appear whole or not at all, at the place that a link points to."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dtql_robot.errors import InputError
from dtql_robot.system.temporary import temporary_sibling

LONG_NAME = 200
"""Bytes of a file's name, of the 255 that file systems allow, to which no more than a few may be added."""


@contextmanager
def new_file(path: Path, overwrite: bool, suffix: str = "") -> Iterator[Path]:
    """Yield an empty temporary sibling to write to; it takes the name `path` when the block ends well.

    suffix: the ending of the temporary name, for writers that tell a format by it.  Where `path` is a link, the file
    that it points to is replaced and the link stays.
    """
    with _as_input_error(path):
        check_is_no_folder(path)
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a regular file (a device or a pipe) and cannot be replaced by a new one.")
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists already. Choose another name or allow overwriting.")
        target = _real(path)
        with temporary_sibling(target, suffix) as temporary:
            # A new name of its own, through no link: nobody can have put anything there for us to overwrite.
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, target)


def expanded(path: Path) -> Path:
    """The path with ~ as the home folder, which a shell leaves as it is in --out=~/runs.

    InputError for a user that does not exist.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{path} names the home folder of a user that does not exist; write ./{path} for a folder of that name."
        ) from error


def hidden_sibling(path: Path, purpose: str) -> Path:
    """ ".NAME.PURPOSE" beside `path`, where unfinished work is found again; a digest stands for a long name."""
    name = path.name
    if len(os.fsencode(name)) > LONG_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return path.with_name(f".{name}.{purpose}")


def _real(path: Path) -> Path:
    """What `path` is at the end of all links; OSError where they lead back to themselves."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def check_is_no_folder(path: Path) -> None:
    """InputError where `path` is a folder."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file to write.")


def check_writable(path: Path) -> None:
    """InputError where a file `path` could not be written: before the work whose result it is to hold.

    Makes the folder it is to be in, and leaves nothing else behind.
    """
    with _as_input_error(path):
        check_is_no_folder(path)
        if path.exists() and not path.is_file():
            if not os.access(path, os.W_OK):
                raise InputError(f"{path} cannot be written: this user may not write to it.")
            return
        with temporary_sibling(_real(path), "") as temporary:
            temporary.touch(exist_ok=False)


def write_text(path: Path, text: str) -> Path:
    """Write or replace a text file, whole or not at all.  A device or a pipe (/dev/stdout) is written to as it is."""
    with _as_input_error(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            with open(path, "w", encoding="utf-8", opener=_open_if_read) as stream:
                stream.write(text)
            return path
    with new_file(path, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _open_if_read(path: str, flags: int) -> int:
    """As `os.open`; InputError for a pipe that nobody reads, where that would wait for ever."""
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise InputError(f"{path} is a pipe that nothing reads from; start its reader first.") from error
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def write_json(path: Path, value: Any) -> Path:
    """Write or replace a readable JSON file, whole or not at all.  NaN and infinity are refused."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def new_folder(path: Path, marker: str, overwrite: bool) -> Iterator[Path]:
    """As `new_file` for a folder.  An existing one is replaced only if empty, or if it holds the file `marker`."""
    with _as_input_error(path):
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; expected the name of a folder to write.")
        if path.is_dir() and any(path.iterdir()):
            if not overwrite:
                raise InputError(f"{path} exists already. Choose another name or allow overwriting.")
            if not (path / marker).is_file():
                raise InputError(f"{path} is not overwritten: it contains no {marker}. Choose another name.")
        target = _real(path)
        with temporary_sibling(target, "") as temporary:
            temporary.mkdir()
            yield temporary
            _put_folder(temporary, target)


def _put_folder(temporary: Path, path: Path) -> None:
    """The new folder takes the place of what was at `path`, which comes back where that fails."""
    if not (path.is_dir() and any(path.iterdir())):
        os.replace(temporary, path)
        return
    with temporary_sibling(path, "") as old:
        os.replace(path, old)
        try:
            os.replace(temporary, path)
        except BaseException:
            os.replace(old, path)
            raise


@contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    """What the operating system refuses, as one sentence about `path` (not about a temporary name beside it)."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
    except ValueError as error:
        if "null byte" not in str(error) and "null character" not in str(error):
            raise
        raise InputError(f"{str(path)!r} cannot be written: file names cannot contain null bytes.") from error
