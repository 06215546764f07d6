"""OGBench's .npz, a Zarr store and a LeRobot folder, and ways to damage what is not HDF5."""

from __future__ import annotations

import json
import os
import random
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

EPISODES, STEPS = 4, 12


def ogbench(folder: Path) -> Path:
    rng, rows = np.random.default_rng(0), EPISODES * STEPS
    arrays = {
        "observations": rng.normal(size=(rows, 28)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (rows, 5)).astype(np.float32),
        "terminals": np.arange(rows) % STEPS == STEPS - 1,
        "qpos": rng.normal(size=(rows, 21)).astype(np.float32),
    }
    np.savez_compressed(folder / "recorded.npz", **arrays)  # type: ignore[arg-type]
    return folder / "recorded.npz"


def zarr(folder: Path) -> Path:
    """Version 2, with chunks that do not divide the rows."""
    rng, rows, root = np.random.default_rng(0), EPISODES * STEPS, folder / "store.zarr"
    arrays = {
        "data/action": rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "data/state": rng.normal(size=(rows, 5)).astype(np.float32),
        "data/img": rng.integers(0, 256, (rows, 12, 12, 3)).astype(np.uint8),
        "meta/episode_ends": np.arange(STEPS, rows + 1, STEPS),
    }
    for name in ("", "data", "meta"):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / ".zgroup").write_text('{"zarr_format": 2}')
    for name, values in arrays.items():
        chunk = (7, *values.shape[1:])
        record = {"zarr_format": 2, "shape": values.shape, "chunks": chunk, "dtype": values.dtype.str, "order": "C"}
        record |= {"fill_value": 0, "filters": None, "compressor": {"id": "zlib", "level": 1}}
        (root / name).mkdir()
        (root / name / ".zarray").write_text(json.dumps(record))
        for start in range(0, rows, 7):
            part = values[start : start + 7]
            full = np.concatenate([part, np.zeros((7 - len(part), *part.shape[1:]), part.dtype)])
            rest = ".0" * (values.ndim - 1)
            (root / name / f"{start // 7}{rest}").write_bytes(zlib.compress(full.tobytes()))
    return root


def lerobot(folder: Path) -> Path:
    """Version 2.1, without pictures."""
    import pyarrow
    import pyarrow.parquet

    rng, root = np.random.default_rng(0), folder / "lerobot"
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    features = {
        "observation.state": {"dtype": "float32", "shape": [6], "names": None},
        "action": {"dtype": "float32", "shape": [3], "names": None},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        **{k: {"dtype": "int64", "shape": [1], "names": None} for k in ("episode_index", "frame_index", "index")},
        "task_index": {"dtype": "int64", "shape": [1], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    info = {
        **{"codebase_version": "v2.1", "fps": 10, "total_episodes": EPISODES, "total_frames": EPISODES * STEPS},
        **{"chunks_size": 1000, "total_chunks": 1, "total_tasks": 1, "robot_type": "arm", "features": features},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": None,
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "reach"}\n')
    lines = [json.dumps({"episode_index": i, "tasks": ["reach"], "length": STEPS}) for i in range(EPISODES)]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    for i in range(EPISODES):
        numbers = np.arange(STEPS)
        columns: dict[str, Any] = {
            "observation.state": list(rng.normal(size=(STEPS, 6)).astype(np.float32)),
            "action": list(rng.uniform(-1, 1, (STEPS, 3)).astype(np.float32)),
            "next.reward": (numbers == STEPS - 1).astype(np.float32),
            **{"episode_index": np.full(STEPS, i), "frame_index": numbers, "index": i * STEPS + numbers},
            **{"task_index": np.zeros(STEPS, np.int64), "timestamp": (numbers / 10).astype(np.float32)},
        }
        pyarrow.parquet.write_table(pyarrow.table(columns), root / f"data/chunk-000/episode_{i:06d}.parquet")
    return root


MAKERS: dict[str, Callable[[Path], Path]] = {"ogbench": ogbench, "zarr": zarr, "lerobot": lerobot}

ODD_JSON: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**70, 1e308, float("nan"), "", "é\u202e", "\x1b[31m", "../../etc/passwd", "/etc/passwd"),
    *([], {}, [[]], [-1, 5], [2**40, 2**40], [0], "x" * 60_000, {"id": "no-such"}, {"id": "blosc"}, "|O", "<f8", "|S9"),
    *("{episode_chunk}", "{0.__class__}", "{x}", "{episode_index:0999999999d}", "v9.9", "9" * 5000),
)


def damage_record(root: Path, rng: random.Random) -> str:
    """One value, at any depth, of a JSON file (or of a line of one)."""
    files = [p for p in sorted(root.rglob("*")) if p.name in (".zarray", ".zgroup") or p.suffix in (".json", ".jsonl")]
    path = rng.choice(files)
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    number = rng.randrange(len(lines))
    record = json.loads(lines[number])
    at, keys = record, []
    while True:
        key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        keys.append(key)
        if not (isinstance(at[key], dict | list) and at[key] and rng.random() < 0.7):
            break
        at = at[key]
    if isinstance(at, dict) and rng.random() < 0.2:
        del at[key]
        what = "nothing"
    else:
        choice = rng.randrange(len(ODD_JSON))
        at[key] = ODD_JSON[choice]
        what = f"value {choice}"
    lines[number] = json.dumps(record)
    path.write_text("\n".join(lines))
    return f"{what} as {keys} of {path.relative_to(root)}"


def damage_folder(root: Path, rng: random.Random) -> str:
    """A file removed, renamed, emptied, repeated, or made a folder, a link or a pipe."""
    path = rng.choice(sorted(root.rglob("*")))
    kind = rng.choice(("remove", "rename", "empty", "folder", "link outside", "link inside", "loop", "pipe", "swap"))
    other = rng.choice([p for p in sorted(root.rglob("*")) if p.is_file()])
    content = other.read_bytes()
    if kind == "rename":
        path.rename(path.with_name(rng.choice(("x", "é", "n" * 200, ".hidden"))))
    else:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if kind == "empty":
            path.touch()
        elif kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "swap":
            path.write_bytes(content)
        elif kind != "remove":
            path.symlink_to({"link outside": "/etc/passwd", "link inside": root, "loop": path}[kind])
    return f"{kind} {path.relative_to(root)}"


def damage_npz(path: Path, rng: random.Random, odd: tuple[Callable[[np.ndarray], Any], ...]) -> str:
    """One array replaced by an odd one, removed, renamed or stored twice."""
    with np.load(path) as stored:
        arrays = dict(stored)
    name = rng.choice(list(arrays))
    kind = rng.choice(("odd", "odd", "odd", "odd", "remove", "rename", "twice", "objects", "text"))
    if kind == "odd":
        choice = rng.randrange(len(odd))
        try:
            arrays[name] = np.asarray(odd[choice](arrays[name]))
        except (ValueError, TypeError):
            arrays[name] = np.float64(0)
        kind = f"array {choice}"
    elif kind == "objects":
        arrays[name] = np.array([{"a": 1}], object)
    elif kind in ("remove", "rename"):
        values = arrays.pop(name)
        arrays |= {rng.choice(("../x", "é", "n" * 300, "a/b", "valids")): values} if kind == "rename" else {}
    np.savez(path, **arrays)
    if kind in ("twice", "text"):
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(f"{name}.npy" if kind == "twice" else f"{name}.txt", b"no array")
    return f"{kind} {name}"
