"""Small .npz files as OGBench publishes them, and Zarr stores as Diffusion Policy does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CUBE = slice(14, 17)  # of qpos: the cube's position


def ogbench_arrays(lengths: tuple[int, ...] = (6, 9, 5), seed: int = 0) -> dict[str, np.ndarray]:
    """Recordings of these many rows, with the sizes of cube-single."""
    rng, rows = np.random.default_rng(seed), sum(lengths)
    terminals = np.zeros(rows, bool)
    terminals[np.cumsum(lengths) - 1] = True
    return {
        "observations": rng.normal(size=(rows, 28)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (rows, 5)).astype(np.float32),
        "terminals": terminals,
        "qpos": rng.normal(size=(rows, 21)).astype(np.float32),
        "qvel": rng.normal(size=(rows, 20)).astype(np.float32),
    }


def write_npz(path: Path, arrays: dict[str, Any] | None = None, **changes: Any) -> Path:
    """The file at `path`; an array that is changed to None is left out."""
    fields = (ogbench_arrays() if arrays is None else arrays) | changes
    np.savez(path, **{k: v for k, v in fields.items() if v is not None})
    return path


def zarr_arrays(lengths: tuple[int, ...] = (6, 9, 5), seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays by their place in the store; state is what the robot sees."""
    rng, rows = np.random.default_rng(seed), sum(lengths)
    return {
        "data/action": rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "data/state": rng.normal(size=(rows, 5)).astype(np.float32),
        "data/img": rng.integers(0, 256, (rows, 12, 12, 3)).astype(np.uint8),
        "data/timestamp": np.arange(rows) / 10.0,
        "meta/episode_ends": np.cumsum(lengths),
    }


def write_zarr(path: Path, arrays: dict[str, Any] | None = None, compressor: Any = "auto", **options: Any) -> Path:
    """A store at `path`, a folder or a .zip, written by the package zarr; its chunks do not divide the rows."""
    import zarr

    fields = zarr_arrays() if arrays is None else arrays
    store: Any = zarr.storage.ZipStore(path, mode="w") if path.suffix == ".zip" else str(path)
    root = zarr.open_group(store, mode="w", zarr_format=options.pop("zarr_format", 2))
    for name, values in fields.items():
        chunks = tuple(max(1, min(n, 4)) for n in values.shape)
        root.create_array(name, data=values, chunks=chunks, compressors=compressor, **options)
    if path.suffix == ".zip":
        store.close()
    return path
