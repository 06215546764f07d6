"""Which kind of file a source is: HDF5, NumPy's .npz, a Zarr store or a LeRobot folder."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from dtql_robot.datasets.formats.lerobot.folder import is_lerobot_folder
from dtql_robot.errors import InputError

Kind = Literal["hdf5", "npz", "zarr", "lerobot"]

_ZARR = (".zarray", ".zgroup", "zarr.json")


def kind_of(path: Path) -> Kind:
    """The kind of the file or folder at `path`, by its content; "hdf5" for everything that is none of the others.

    InputError for a zip archive that is damaged, or holds neither NumPy arrays nor a Zarr store.
    """
    try:
        if path.is_dir():
            return "lerobot" if is_lerobot_folder(path) else "zarr" if is_zarr_folder(path) else "hdf5"
        if not path.is_file():
            return "hdf5"
        with path.open("rb") as stream:
            head = stream.read(4)
        if head not in (b"PK\x03\x04", b"PK\x05\x06"):
            return "hdf5"
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is a damaged or truncated zip archive ({error}). Fetch it again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error
    if any(name.rsplit("/", 1)[-1] in _ZARR for name in names):
        return "zarr"
    if any(name.endswith(".npy") for name in names):
        return "npz"
    raise InputError(
        f"{path} is a zip archive with neither NumPy arrays (.npz) nor a Zarr store in it; expected a dataset. "
        "Unpack it, and name what is inside."
    )


def is_zarr_folder(folder: Path) -> bool:
    """Whether a Zarr store or group lies in this folder."""
    return any((folder / name).is_file() for name in (".zgroup", "zarr.json", "meta/episode_ends/.zarray"))
