"""Where the public files lie that some tests read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def real_file() -> Callable[[str], Path]:
    """Path of a public file below $DTQL_ROBOT_DATA (by default ../shared/data); skips the test where it is absent."""

    def find(name: str) -> Path:
        root = os.environ.get("DTQL_ROBOT_DATA")
        path = (Path(root) if root else Path(__file__).resolve().parents[3] / "shared" / "data") / name
        if not path.is_file():
            pytest.skip(f"{path} is not there; set DTQL_ROBOT_DATA to the folder that holds {name}")
        return path

    return find
