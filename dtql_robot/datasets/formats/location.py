"""From what the user typed to the file, or the Zarr folder, that holds the data."""

from __future__ import annotations

from pathlib import Path

from dtql_robot.datasets.formats.file_kind import is_zarr_folder
from dtql_robot.datasets.formats.lerobot.folder import INFO, is_lerobot_folder
from dtql_robot.datasets.formats.ogbench_names import recording_beside
from dtql_robot.datasets.published.names import is_published
from dtql_robot.errors import InputError
from dtql_robot.system.json_text import parse_json

MAIN_FILE = "main_data.hdf5"
METADATA_FILE = "metadata.json"


def resolve(data: str | Path) -> Path:
    """The file or folder behind a path, or behind a published name, downloaded if need be.

    A Minari folder stands for its main file; Zarr stores and LeRobot data sets are folders.
    """
    text = str(data)
    if is_published(text):
        from dtql_robot.datasets.published.fetch import fetch

        path = fetch(text)
        return path if path.is_file() else _in_folder(path)
    if not text.strip():
        raise InputError("The dataset path is empty; expected a file, a Minari folder or minari:NAMESPACE/ID.")
    if "\0" in text:
        raise InputError(f"The dataset path {text!r} contains a NUL character.")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"The dataset path {text!r} starts with a home folder that does not exist.") from error
    try:
        if path.is_dir():
            return path if is_zarr_folder(path) else _in_folder(path)
        return recording_beside(path)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error


def _in_folder(folder: Path) -> Path:
    if is_lerobot_folder(folder):
        return folder
    if (folder / "meta").is_dir() and any(folder.glob("data/chunk-*")):
        raise InputError(
            f"{folder} is a LeRobot data set without its {INFO}, which describes its contents. Fetch it again."
        )
    for data in (folder / "data", folder):
        if (data / MAIN_FILE).exists():
            return data / MAIN_FILE
        stored_as = _data_format(data / METADATA_FILE)
        if stored_as is not None:
            raise InputError(
                f"{folder} is a Minari dataset stored as {stored_as!r}; only data_format='hdf5' is "
                "supported. Write it again with minari's data_format='hdf5'."
            )
    files = sorted(p.name for pattern in ("*.hdf5", "*.h5") for p in folder.glob(pattern))
    hint = f" Name one of its files: {', '.join(files[:5])}." if files else ""
    raise InputError(
        f"{folder} is a folder without a Minari dataset (data/{MAIN_FILE}); expected a dataset file or "
        f"such a folder.{hint}"
    )


def _data_format(metadata: Path) -> str | None:
    try:
        record = parse_json(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    stored_as = record.get("data_format") if isinstance(record, dict) else None
    return str(stored_as) if stored_as not in (None, "hdf5") else None
