"""From what the user typed to the file, or the Zarr folder, that holds the data."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from dtql_robot.datasets.formats.file_kind import is_zarr_folder
from dtql_robot.datasets.formats.ogbench_names import OGBENCH_PREFIX, dataset_file, recording_beside
from dtql_robot.errors import InputError

MINARI_PREFIX = "minari:"
MAIN_FILE = "main_data.hdf5"
METADATA_FILE = "metadata.json"
_DATASET_ID = re.compile(r"(?:[-\w]+/)*[-\w]+-v\d+")


def resolve(data: str | Path) -> Path:
    """The file behind a path (a file, a Minari or Zarr folder), `minari:NAMESPACE/ID` or `ogbench:NAME`."""
    text = str(data)
    if text.startswith(OGBENCH_PREFIX):
        return dataset_file(text)
    if text.startswith(MINARI_PREFIX):
        return _minari_file(text[len(MINARI_PREFIX) :])
    if not text.strip():
        raise InputError("The dataset path is empty; a file, a Minari folder or minari:NAMESPACE/ID was expected.")
    if "\0" in text:
        raise InputError(f"The dataset path {text!r} holds a NUL character.")
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


def minari_root() -> Path:
    """Where Minari keeps its datasets: $MINARI_DATASETS_PATH or ~/.minari/datasets."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    if root is not None:
        return Path(root)
    try:
        return Path.home() / ".minari" / "datasets"
    except RuntimeError as error:
        raise InputError(
            "There is no home folder to look for Minari's datasets in; name theirs with MINARI_DATASETS_PATH."
        ) from error


def is_dataset_id(text: str) -> bool:
    """Whether `text` reads like NAMESPACE/NAME-vN."""
    return _DATASET_ID.fullmatch(text) is not None


def _minari_file(dataset_id: str) -> Path:
    if not is_dataset_id(dataset_id):
        raise InputError(
            f"{dataset_id!r} is no Minari dataset id; NAMESPACE/NAME-vN was expected, e.g. minari:D4RL/door/human-v2."
        )
    folder = minari_root() / dataset_id
    if not folder.is_dir():
        _download(dataset_id)
    return _in_folder(folder)


def _download(dataset_id: str) -> None:
    """Fetch a dataset with the `minari` package.  InputError without it, or where that fails."""
    import importlib.util
    import sys

    missing = f"Minari dataset {dataset_id} is not in {minari_root()}"
    if any(importlib.util.find_spec(name) is None for name in ("minari", "huggingface_hub")):
        raise InputError(
            f'{missing}. Get it with `pip install "dtql-robot[download]"` and `minari download {dataset_id}`.'
        )
    import minari

    print(f"downloading {dataset_id} to {minari_root()}", file=sys.stderr)
    try:
        minari.download_dataset(dataset_id)
    except Exception as error:  # of the network, the hub or minari: the user needs the sentence, whichever it is
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{missing}, and downloading it failed: {reason}.") from error


def _in_folder(folder: Path) -> Path:
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
        f"{folder} is a folder without a Minari dataset (data/{MAIN_FILE}); a dataset file or such a "
        f"folder was expected.{hint}"
    )


def _data_format(metadata: Path) -> str | None:
    try:
        record = json.loads(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    stored_as = record.get("data_format") if isinstance(record, dict) else None
    return str(stored_as) if stored_as not in (None, "hdf5") else None
