"""Where the public files lie that some tests read, and a server in place of those that publish them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.file_server import file_server


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


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server that stands for all of them; the home folder and the cache are the test's own."""
    with file_server() as running:
        for scheme in ("ROBOMIMIC", "D4RL", "OGBENCH", "MINARI", "LEROBOT"):
            monkeypatch.setenv(f"DTQL_{scheme}_URL", running.url)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("DTQL_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
        yield running
