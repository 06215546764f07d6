"""Numbers that vary by less than float32 can tell: the user reads of it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets.loader import read_source
from dtql_robot.types import Array


def written(path: Path, obs: Array, actions: Array | None = None) -> Path:
    """Four episodes of ten rows each of `obs` (40, D)."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (40, 2)) if actions is None else actions
    with h5py.File(path, "w") as file:
        for i in range(4):
            rows = slice(10 * i, 10 * i + 10)
            demo = file.create_group(f"data/demo_{i}")
            demo["obs/x"], demo["actions"], demo["rewards"] = obs[rows], actions[rows], rng.normal(size=10)
    return path


WALK = np.cumsum(np.random.default_rng(1).normal(size=(40, 2)), axis=0)
LOST = {
    "far from the origin": WALK * 1e-3 + 5e6,
    "too small": WALK * 1e-42,
    "nanoseconds": (1_700_000_000_000_000_000 + np.arange(80).reshape(40, 2) * 1000).astype(np.int64),
}
KEPT = {
    "plain": WALK,
    "small": WALK * 1e-30,
    "constant": np.full((40, 2), 0.1),
    "rounding of float64": 0.7 + 1e-16 * np.round(WALK),
    "constant in each episode": np.repeat(np.arange(4.0), 10)[:, None] + 100,
    "float32": (WALK * 1e-3 + 5e6).astype(np.float32),
}


@pytest.mark.parametrize("kind", [*LOST, *KEPT])
def test_what_float32_cannot_hold_is_told(tmp_path: Path, kind: str) -> None:
    reading = read_source(written(tmp_path / "f.hdf5", (LOST | KEPT)[kind]))
    told = [note for note in reading.notes if "too little for float32" in note]
    assert len(told) == (kind in LOST)
    if told:
        assert told[0].startswith("'x' changes")
        assert "entry 0 by" in told[0]
        assert "entry 1 by" in told[0]


def test_actions_too_and_in_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "f.hdf5", WALK, WALK * 1e-4 + 1e5)
    main(["validate", str(path)])
    assert "note: 'actions' changes by too little for float32" in capsys.readouterr().out
