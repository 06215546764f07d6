"""Minari's names of data sets, and the folder that it keeps them in."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dtql_robot.errors import InputError

_DATASET_ID = re.compile(r"(?:[-\w]+/)*[-\w]+-v\d+")


def minari_root() -> Path:
    """Where Minari keeps its datasets: $MINARI_DATASETS_PATH or ~/.minari/datasets."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    if root is not None:
        return Path(root)
    try:
        return Path.home() / ".minari" / "datasets"
    except RuntimeError as error:
        raise InputError(
            "There is no home folder to look for Minari's datasets in; set MINARI_DATASETS_PATH to their folder."
        ) from error


def is_dataset_id(text: str) -> bool:
    """Whether `text` reads like NAMESPACE/NAME-vN."""
    return _DATASET_ID.fullmatch(text) is not None


def minari_folder(dataset_id: str) -> Path:
    """Where Minari keeps the dataset NAMESPACE/NAME-vN.  InputError for anything else."""
    if not is_dataset_id(dataset_id):
        raise InputError(
            f"{dataset_id!r} is not a valid Minari dataset ID; expected NAMESPACE/NAME-vN, e.g. "
            "minari:D4RL/door/human-v2."
        )
    return minari_root() / dataset_id
