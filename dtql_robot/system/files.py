"""Files and folders appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dtql_robot.errors import InputError


@contextmanager
def new_file(path: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary sibling to write to; it takes the name `path` when the block ends well."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; the name of a file to write was expected.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already. Choose another name or allow overwriting.")
    with _temporary_sibling(path) as temporary:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)


def check_writable(path: Path) -> None:
    """InputError where a file `path` could not be written: before the work whose result it is to hold.

    Makes the folder it is to be in, and leaves nothing else behind.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; the name of a file to write was expected.")
    with _temporary_sibling(path) as temporary:
        temporary.touch()


def write_text(path: Path, text: str) -> Path:
    """Write or replace a text file, whole or not at all."""
    with new_file(path, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write or replace a readable JSON file, whole or not at all.  NaN and infinity are refused."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def new_folder(path: Path, marker: str, overwrite: bool) -> Iterator[Path]:
    """As `new_file` for a folder.  An existing one is replaced only if empty, or if it holds the file `marker`."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; the name of a folder to write was expected.")
    if path.is_dir() and any(path.iterdir()):
        if not overwrite:
            raise InputError(f"{path} exists already. Choose another name or allow overwriting.")
        if not (path / marker).is_file():
            raise InputError(f"{path} is not overwritten: it holds no {marker}. Choose another name.")
    with _temporary_sibling(path) as temporary:
        temporary.mkdir()
        yield temporary
        if path.is_dir() and any(path.iterdir()):
            with _temporary_sibling(path) as old:
                os.replace(path, old)
                try:
                    os.replace(temporary, path)
                except BaseException:
                    os.replace(old, path)
                    raise
        else:
            os.replace(temporary, path)


@contextmanager
def _temporary_sibling(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}.") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # its folder may be none
                temporary.unlink()
