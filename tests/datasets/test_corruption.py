"""Damaged files are refused in a sentence or read; nothing else ever comes out."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from sample_demos import make_demos

from dtql_robot.datasets import inspect, load, save_minari, save_robomimic
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations


def make_robomimic(folder: Path) -> Path:
    return save_robomimic(make_demos(2, attrs={"seed": 1}), folder / "f.hdf5", masks={"train": [0, 1]})


def make_minari(folder: Path) -> Path:
    return save_minari(make_demos(2), folder / "set-v0") / "data/main_data.hdf5"


def make_d4rl(folder: Path) -> Path:
    with h5py.File(folder / "d.hdf5", "w") as file:
        file["observations"] = np.arange(120.0).reshape(40, 3)
        file.create_dataset("actions", data=np.ones((40, 2)), compression="gzip", chunks=(8, 2))
        file["rewards"] = np.zeros(40)
        file["terminals"] = np.arange(40) % 10 == 9
        file["timeouts"] = np.zeros(40, bool)
        file["infos/qpos"] = np.ones((40, 2))
    return folder / "d.hdf5"


MAKERS: dict[str, Callable[[Path], Path]] = {"robomimic": make_robomimic, "minari": make_minari, "d4rl": make_d4rl}


def flip_bits(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 4, 32])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def flip_metadata(content: bytearray, rng: random.Random) -> None:
    """Damage next to a signature of HDF5's own structures rather than in the values."""
    places = [i for tag in (b"TREE", b"HEAP", b"SNOD", b"OHDR", b"GCOL", b"\x89HDF") for i in find_all(content, tag)]
    for _ in range(3):
        content[min(len(content) - 1, rng.choice(places) + rng.randrange(80))] = rng.randrange(256)


def find_all(content: bytearray, tag: bytes) -> list[int]:
    found, start = [], content.find(tag)
    while start >= 0:
        found.append(start)
        start = content.find(tag, start + 1)
    return found


def truncate(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


def blank(content: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(content))
    stop = min(len(content), start + rng.choice([8, 512, 4096]))
    content[start:stop] = bytes(stop - start)


MUTATIONS = (flip_bits, flip_metadata, truncate, blank)


def assert_whole(demos: Demonstrations) -> None:
    """What was read keeps every promise of the types."""
    assert len(demos) > 0
    for episode in demos.episodes:
        assert len(episode) > 0
        assert episode.rewards.shape == (len(episode),)
        arrays = [episode.actions, episode.rewards, *episode.obs.values(), *(episode.final_obs or {}).values()]
        assert all(np.isfinite(a).all() and a.dtype == np.float32 for a in arrays)
        assert all(len(v) == len(episode) for v in episode.obs.values())


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda m: m.__name__)
@pytest.mark.parametrize("name", MAKERS)
def test_mutated_bytes(tmp_path: Path, name: str, mutate: Callable[[bytearray, random.Random], None]) -> None:
    path = MAKERS[name](tmp_path)
    original = path.read_bytes()
    rng = random.Random(f"{name} {mutate.__name__}")
    messages = []
    for _ in range(12):
        content = bytearray(original)
        mutate(content, rng)
        path.write_bytes(content)
        try:
            assert_whole(load(path))
        except InputError as error:
            messages.append(str(error))
    assert all(len(m) < 700 and "\n" not in m for m in messages)
    assert messages or mutate not in (truncate, flip_metadata)
    path.write_bytes(original)
    assert_whole(load(path))


REPLACEMENTS: list[Any] = [
    np.zeros((0, 2)), np.ones(3), 1.0, b"text", ["a", "b"], np.ones((2, 2, 2, 2)), np.full((6, 2), np.nan),
    np.ones((6, 2), complex), h5py.Empty("f"), np.zeros(2, [("x", float)]), h5py.SoftLink("/nowhere"),
    h5py.SoftLink("/"), h5py.ExternalLink("x.hdf5", "/"), {},
]  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_replaced_members(tmp_path: Path, name: str) -> None:
    """Every array in turn is removed or replaced by something else."""
    path = MAKERS[name](tmp_path)
    original = path.read_bytes()
    keys: list[str] = []
    with h5py.File(path) as file:
        file.visit(keys.append)
    rng = random.Random(name)
    messages = []
    for key in keys:
        for value in [None, *rng.sample(REPLACEMENTS, 3)]:
            path.write_bytes(original)
            with h5py.File(path, "a") as file:
                del file[key]
                if isinstance(value, dict):
                    file.create_group(key)
                elif value is not None:
                    file[key] = value
            try:
                assert_whole(load(path))
                inspect(path)
            except InputError as error:
                messages.append(str(error))
    assert messages
    assert all(len(m) < 700 and "\n" not in m for m in messages)
