"""Damaged files are refused in a sentence or read; nothing else ever comes out.

More than 700 of them: 192 with damaged bytes of four kinds of file and 32 raw ones, 100 through the commands, 36 with
links, and every array and group of the four kinds in turn removed or replaced.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import inspect, load, save_minari, save_robomimic
from dtql_robot.datasets.formats.robosuite_recording import read_raw
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations
from tests.helpers.sample_demos import make_demos


def make_robomimic(folder: Path) -> Path:
    return save_robomimic(make_demos(2, attrs={"seed": 1}), folder / "f.hdf5", masks={"train": [0, 1]})


def make_newest(folder: Path) -> Path:
    """The same in HDF5's newest structures: checksummed headers, fractal heaps, other B-trees; compressed."""
    with h5py.File(make_robomimic(folder)) as old, h5py.File(folder / "new.hdf5", "w", libver="latest") as file:
        for key in ("data", "mask"):
            old.copy(key, file)
        for demo in file["data"].values():
            values = demo["actions"][()]
            del demo["actions"]
            demo.create_dataset("actions", data=values, compression="gzip", fletcher32=True, chunks=(2, 2))
    return folder / "new.hdf5"


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


def make_raw(folder: Path) -> Path:
    with h5py.File(folder / "raw.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_info"] = json.dumps({"env_name": "Lift", "robots": "Panda"})
        for i in range(2):
            demo = data.create_group(f"demo_{i}")
            demo.attrs["model_file"] = "<mujoco/>" * 99
            demo["states"], demo["actions"] = np.ones((5, 32)), np.ones((5, 7))
    return folder / "raw.hdf5"


MAKERS: dict[str, Callable[[Path], Path]] = {
    "robomimic": make_robomimic,
    "newest": make_newest,
    "minari": make_minari,
    "d4rl": make_d4rl,
}
SIGNATURES = (b"TREE", b"HEAP", b"SNOD", b"OHDR", b"OCHK", b"GCOL", b"FRHP", b"BTHD", b"FADB", b"FAHD", b"\x89HDF")


def flip_bits(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 4, 32])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def flip_metadata(content: bytearray, rng: random.Random) -> None:
    """Damage next to a signature of HDF5's own structures rather than in the values."""
    places = [i for tag in SIGNATURES for i in find_all(content, tag)]
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


@pytest.mark.slow
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


def test_mutated_raw_recordings(tmp_path: Path) -> None:
    path = make_raw(tmp_path)
    original = path.read_bytes()
    rng = random.Random(3)
    messages = []
    for mutate in MUTATIONS * 8:
        content = bytearray(original)
        mutate(content, rng)
        path.write_bytes(content)
        try:
            demos = read_raw(path)
            assert all(len(e.extras["states"]) == len(e) for e in demos.episodes)
        except InputError as error:
            messages.append(str(error))
    assert messages
    assert all(len(m) < 700 and "\n" not in m for m in messages)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MAKERS, "raw"])
def test_commands_answer_every_mutated_file(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 or 2, never a traceback, for the commands that read files."""
    path = (MAKERS | {"raw": make_raw})[name](tmp_path)
    original = path.read_bytes()
    rng = random.Random(f"commands {name}")
    refused = 0
    for count in range(20):
        content = bytearray(original)
        rng.choice(MUTATIONS)(content, rng)
        path.write_bytes(content)
        command = ("validate", "inspect", "split")[count % 3]
        code = main([command, str(path)])
        assert code in (0, 2), command
        refused += code == 2
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err
        if code == 2:
            assert len(printed.err.strip().splitlines()) == 1
    assert refused


def test_links_that_point_outside_or_at_themselves(tmp_path: Path) -> None:
    secret = tmp_path / "secret.hdf5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((5, 2), np.float32)
    path = make_robomimic(tmp_path)
    original = path.read_bytes()
    links = [
        h5py.ExternalLink("secret.hdf5", "x"),
        h5py.ExternalLink(str(secret), "/"),
        h5py.SoftLink("/data"),
        h5py.SoftLink("/data/demo_0"),
        h5py.SoftLink("actions"),
        h5py.SoftLink("../.."),
    ]
    messages = []
    for key in ("data", "data/demo_0", "data/demo_0/actions", "data/demo_0/obs", "data/demo_0/obs/robot", "mask"):
        for link in links:
            path.write_bytes(original)
            with h5py.File(path, "a") as file:
                del file[key]
                file[key] = link
            try:
                demos = load(path)
            except InputError as error:
                messages.append(str(error))
            else:
                assert_whole(demos)
                assert not any((e.actions == 1).all() for e in demos.episodes)
    assert messages
    assert all(len(m) < 700 and "\n" not in m for m in messages)
