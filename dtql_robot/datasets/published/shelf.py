"""What lies in the cache: listed, measured, removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from dtql_robot.datasets.formats.minari_names import minari_root
from dtql_robot.datasets.published.fetch import cache_root, place
from dtql_robot.datasets.published.hub import REVISION, unfinished_folder
from dtql_robot.datasets.published.names import OGBENCH_EXAMPLES, SCHEMES, listed
from dtql_robot.errors import InputError
from dtql_robot.system.download import alone, partial_files


def known_names(scheme: str) -> list[str]:
    """Names to show of a scheme: its list (OGBench: examples), and what was fetched; those without a list only that."""
    if scheme not in SCHEMES:
        raise InputError(f"{scheme!r} is none of {', '.join(SCHEMES)}.")
    names = {file.name: None for file in listed(scheme).values()}
    if scheme == "ogbench":
        names |= dict.fromkeys(OGBENCH_EXAMPLES)
    return list(names | dict.fromkeys(_fetched(scheme)))


def _fetched(scheme: str) -> Iterator[str]:
    """Names of a scheme without a fixed list that lie in the cache."""
    if scheme == "ogbench":
        yield from (path.stem for path in sorted((cache_root() / scheme).glob("*.npz")))
    if scheme == "lerobot":
        yield from (f"{p.parent.name}/{p.name}" for p in sorted((cache_root() / scheme).glob("*/[!.]*")) if p.is_dir())
    if scheme == "minari":
        root = minari_root()
        for data in sorted(root.glob("**/data/main_data.hdf5")):
            yield data.parent.parent.relative_to(root).as_posix()


def size_here(name: str) -> int | None:
    """Bytes that a published data set takes here; None where it is not here."""
    found = place(name)
    if found.is_file():
        return found.stat().st_size
    return sum(p.stat().st_size for p in found.rglob("*") if p.is_file()) if found.is_dir() else None


def remove(name: str) -> Path | None:
    """Delete a published data set and what an interrupted download has left of it; None where nothing is here.

    InputError for what was not fetched by this package: another package keeps it.
    """
    target, root = place(name), cache_root()
    ours = target.is_relative_to(root) or (target / REVISION).is_file()
    if target.exists() and not ours:
        raise InputError(f"{target} was not put there by this package; delete it by hand.")
    left = [*partial_files(target), unfinished_folder(target)]
    found = [path for path in (target, *left) if path.is_symlink() or path.exists()]
    if not found:
        return None
    with alone(target):
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    _remove_empty(target.parent, root if target.is_relative_to(root) else minari_root())
    return target


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and folder.is_relative_to(root) and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
