"""The files of a Zarr store, a folder or a zip archive of one; nothing outside it is read."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtql_robot.errors import InputError

MARK = "meta/episode_ends/.zarray"
"""What every store of Diffusion Policy holds."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


class ZarrFiles:
    """sizes: name below the store's root ("data/action/0.0") -> bytes, of every file in it."""

    def __init__(self, path: Path, sizes: dict[str, int], root: Path | tuple[zipfile.ZipFile, str]) -> None:
        self.path, self.sizes, self._root = path, sizes, root

    def read(self, name: str, most: int) -> bytes:
        """A file's bytes.  InputError where it has more than `most`, or cannot be read."""
        size = self.sizes[name]
        if size > most:
            raise InputError(f"{name} in {self.path} has {size} bytes; expected at most {most}: it is damaged.")
        try:
            if isinstance(self._root, Path):
                with (self._root / name).open("rb") as stream:
                    return stream.read(most + 1)
            archive, prefix = self._root
            with archive.open(prefix + name) as member:
                return member.read(most + 1)
        except _DAMAGE as error:
            raise InputError(f"{name} in {self.path} cannot be read ({error}). Fetch or write it again.") from error


@contextmanager
def open_files(path: Path) -> Iterator[ZarrFiles]:
    """The store at `path`.  InputError where it is damaged, or has links in it."""
    if path.is_dir():
        yield ZarrFiles(path, _in_folder(path), path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise InputError(f"{path} cannot be opened as a zipped Zarr store ({error}). Fetch it again.") from error
    with archive:
        members = {i.filename: i.file_size for i in archive.infolist() if not i.is_dir()}
        prefix = _prefix(path, members)
        sizes = {name[len(prefix) :]: size for name, size in members.items() if name.startswith(prefix)}
        yield ZarrFiles(path, sizes, (archive, prefix))


def _prefix(path: Path, members: dict[str, int]) -> str:
    """The folder in the archive that is the store, "" or ending in a slash."""
    found = sorted(n[: -len(MARK)] for n in members if n == MARK or n.endswith(f"/{MARK}"))
    if len(found) > 1:
        raise InputError(f"{path} holds {len(found)} Zarr stores ({', '.join(found[:3])}). Unpack it and choose one.")
    return found[0] if found else ""


def _in_folder(root: Path) -> dict[str, int]:
    sizes = {}
    try:
        for folder, below, files in os.walk(root, onerror=_raise):
            for name in (*below, *files):
                path = Path(folder) / name
                kind = path.lstat()
                if stat.S_ISREG(kind.st_mode):
                    sizes[path.relative_to(root).as_posix()] = kind.st_size
                elif not stat.S_ISDIR(kind.st_mode):
                    raise InputError(
                        f"{path} is a link or not a regular file; nothing outside a Zarr store is read. Copy the store "
                        "with its content first: `cp -rL`."
                    )
    except OSError as error:
        raise InputError(f"{error.filename or root} cannot be read: {error.strerror or error}.") from error
    return sizes


def _raise(error: OSError) -> None:
    raise error
