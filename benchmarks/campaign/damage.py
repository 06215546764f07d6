"""Demonstration files of every format, and ways to damage them: bytes, arrays, attributes, structure."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flat
import h5py
import numpy as np

from dtql_robot.datasets import save_minari, save_robomimic
from dtql_robot.types import Demonstrations, Episode


def demonstrations(episodes: int = 4, steps: int = 12) -> Demonstrations:
    """A small labelled data set of FetchReach's sizes."""
    made = []
    for i in range(episodes):
        rng = np.random.default_rng(i)
        obs = {
            "observation": rng.standard_normal((steps + 1, 10)).astype(np.float32),
            "achieved_goal": rng.standard_normal((steps + 1, 3)).astype(np.float32),
            "desired_goal": rng.standard_normal((steps + 1, 3)).astype(np.float32),
        }
        success = np.arange(steps) > steps - 3 - i
        made.append(
            Episode(
                f"demo_{i}",
                {k: v[:-1] for k, v in obs.items()},
                {k: v[-1] for k, v in obs.items()},
                rng.uniform(-1, 1, (steps, 4)).astype(np.float32),
                success.astype(np.float32) - 1,
                False,
                True,
                success,
                extras={"states": rng.standard_normal((steps, 20))},
                attrs={"seed": i, "operator": "someone"},
            )
        )
    return Demonstrations(tuple(made), "made", "robomimic", "FetchReach-v4", attrs={"author": "someone"})


def robomimic(folder: Path) -> Path:
    masks = {"train": [0, 1, 2], "valid": [3]}
    return save_robomimic(demonstrations(), folder / "demos.hdf5", masks=masks, overwrite=True)


def minari(folder: Path) -> Path:
    return save_minari(demonstrations(), folder / "reach-v0") / "data" / "main_data.hdf5"


def d4rl(folder: Path) -> Path:
    path, rng = folder / "d4rl.hdf5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["observations"] = rng.standard_normal((48, 16)).astype(np.float32)
        file.create_dataset("actions", data=rng.uniform(-1, 1, (48, 4)).astype(np.float32), compression="gzip")
        file["rewards"] = rng.standard_normal(48).astype(np.float32)
        file["terminals"] = np.zeros(48, bool)
        file["timeouts"] = np.arange(48) % 12 == 11
        file["infos/qpos"] = rng.standard_normal((48, 7))
    return path


def recording(folder: Path) -> Path:
    path, rng = folder / "recording.hdf5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env"], data.attrs["repository_version"] = "Lift", "1.4.1"
        data.attrs["env_info"] = json.dumps({"env_name": "Lift", "robots": "Panda", "control_freq": 20})
        for i in range(3):
            demo = data.create_group(f"demo_{i + 1}")
            demo.attrs["model_file"] = "<mujoco><worldbody/></mujoco>"
            demo["states"], demo["actions"] = rng.standard_normal((12, 32)), rng.uniform(-1, 1, (12, 7))
    return path


def pixels(folder: Path) -> Path:
    path, rng = folder / "pixels.hdf5", np.random.default_rng(0)
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_group("data")
        for i in range(3):
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"] = 12
            demo["actions"], demo["rewards"] = rng.uniform(-1, 1, (12, 4)).astype(np.float32), np.zeros(12)
            demo["dones"] = np.arange(12) == 11
            demo["obs/front_image"] = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
            demo["obs/proprio"] = rng.standard_normal((12, 5)).astype(np.float32)
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {
    "robomimic": robomimic,
    "minari": minari,
    "d4rl": d4rl,
    "recording": recording,
    "pixels": pixels,
    **flat.MAKERS,
}


def damage_bytes(path: Path, rng: random.Random) -> str:
    """Flip, zero, repeat, cut or insert bytes anywhere."""
    content = bytearray(path.read_bytes())
    kind, at = rng.choice(("flip", "zero", "cut", "insert", "repeat", "swap")), rng.randrange(len(content))
    size = rng.choice((1, 8, 64, 512))
    if kind == "flip":
        for _ in range(rng.choice((1, 4, 32))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "zero":
        content[at : at + size] = bytes(len(content[at : at + size]))
    elif kind == "cut":
        del content[at:]
    elif kind == "insert":
        content[at:at] = rng.randbytes(size)
    elif kind == "repeat":
        content[at:at] = content[max(0, at - size) : at]
    else:
        other = rng.randrange(len(content))
        content[at : at + size], content[other : other + size] = content[other : other + size], content[at : at + size]
    path.write_bytes(content)
    return f"{kind} {size} bytes at {at}"


ODD_ARRAYS: tuple[Callable[[np.ndarray], Any], ...] = (
    lambda a: np.full(a.shape, np.nan),
    lambda a: np.full(a.shape, np.inf),
    lambda a: np.full(a.shape, 1e308),
    lambda a: a[:0],
    lambda a: a[:1],
    lambda a: a[:-1],
    lambda a: np.concatenate([a, a]),
    lambda a: a.reshape(-1),
    lambda a: a[..., None],
    lambda a: np.zeros((*a.shape[:1], 0)),
    lambda a: a.astype("S8"),
    lambda a: np.array([b"text"] * len(a), h5py.string_dtype()),
    lambda a: a.astype(np.complex64),
    lambda a: np.float64(3),
    lambda a: h5py.Empty("f4"),
    lambda a: np.zeros(a.shape, bool),
    lambda a: np.full(a.shape, 2**62, np.int64),
    lambda a: np.zeros(len(a), [("x", "f4"), ("y", "i4")]),
    lambda a: a.astype(np.float16),
    lambda a: np.asfortranarray(a).astype(">f8") if a.dtype.kind == "f" else a.astype(">i8"),
)
ODD_VALUES: tuple[Any, ...] = (
    *(float("nan"), float("inf"), -1, 0, 2**63 - 1, -(2**63), 1e30, True, b"\xff\xfe", "", "\x1b[31mred", "a" * 60_000),
    *(
        "NaN",
        "[1, 2",
        "{}",
        "null",
        "[]",
        '{"env_name": 3}',
        '{"env_name": "os:system", "type": 2}',
        "é\u202e",
        "9" * 5000,
    ),
    *(np.array([]), np.array([[1.0, 2.0]]), np.array([b"x", b"y"]), h5py.Empty("f4")),
    *('{"env_name": "FetchReach-v4", "type": "gym", "env_kwargs": [1]}',),
    *('{"env_name": "FetchReach-v4", "type": 2, "env_kwargs": {"max_episode_steps": NaN}}',),
    *(
        '{"env_name": ":", "type": 2, "env_kwargs": {}}',
        '{"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 0}}',
    ),
)


def _datasets(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, o: found.append(name) if isinstance(o, h5py.Dataset) else None)
    return found


def damage_array(path: Path, rng: random.Random) -> str:
    """Replace one array by an odd one, or spoil one entry."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        values = np.asarray(file[name][()])
        if values.dtype.kind == "f" and values.size and rng.random() < 0.3:
            values.flat[rng.randrange(values.size)] = rng.choice((np.nan, np.inf, -np.inf, 1e38, 1e12))
            file[name][...] = values
            return f"one entry of {name}"
        choice = rng.randrange(len(ODD_ARRAYS))
        if values.ndim == 0:
            values = values[None]
        try:
            odd = ODD_ARRAYS[choice](values)
        except (ValueError, TypeError):
            odd = np.float64(0)
        del file[name]
        file[name] = odd
        return f"array {choice} as {name}"


def damage_attribute(path: Path, rng: random.Random) -> str:
    """Set, replace or remove one attribute."""
    with h5py.File(path, "r+") as file:
        owners: list[str] = ["/"]
        file.visit(owners.append)
        owner = file[rng.choice([o for o in owners if isinstance(file[o], h5py.Group)])]
        known = ("env_args", "num_samples", "env_info", "total", "seed", "success", "model_file", "env_spec", "shape")
        name = rng.choice([*owner.attrs, *known])
        if name in owner.attrs and rng.random() < 0.2:
            del owner.attrs[name]
            return f"without {owner.name}@{name}"
        choice = rng.randrange(len(ODD_VALUES))
        try:
            owner.attrs[name] = ODD_VALUES[choice]
        except (ValueError, TypeError, OSError, RuntimeError, OverflowError):
            owner.attrs[name] = 7
        return f"value {choice} as {owner.name}@{name}"


def damage_structure(path: Path, rng: random.Random) -> str:
    """Remove, rename, nest or link a part of the file."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        kind = rng.choice(("remove", "rename", "group", "soft", "external", "hard", "loop", "odd name", "empty"))
        if kind == "rename":
            file.move(name, name + rng.choice(("_", "x/y", "9" * 300, "é")))
        elif kind == "odd name":
            parent = file[name] if isinstance(file[name], h5py.Group) else file
            parent.create_group(rng.choice(("demo_" + "9" * 5000, "demo_-1", "demo_x", "episode_1e9", "n" * 300)))
        elif kind == "hard":
            file[f"{name}_again"] = file[name]
        else:
            is_group = isinstance(file[name], h5py.Group)
            del file[name]
            if kind == "group" and not is_group:
                file.create_group(name)
            elif kind == "empty" or kind == "group":
                file[name] = np.zeros(3)
            elif kind == "soft":
                file[name] = h5py.SoftLink(rng.choice(("/nowhere", "/", f"/{name}")))
            elif kind == "external":
                file[name] = h5py.ExternalLink(rng.choice(("/etc/passwd", "other.hdf5", path.name)), "/")
            elif kind == "loop":
                file[name] = file["/"]
        return f"{kind} {name[:60]}"


DAMAGES = {
    "bytes": damage_bytes,
    "arrays": damage_array,
    "attributes": damage_attribute,
    "structure": damage_structure,
    "nothing": lambda path, rng: "nothing",
}


def damaged(source: Path, folder: Path, kind: str, rng: random.Random) -> tuple[Path, str]:
    """A damaged copy of `source` in `folder` (of the whole Minari folder where it is one), and what was done to it."""
    if source.suffix == ".npz":
        path = Path(shutil.copy(source, folder / source.name))
        if kind in ("bytes", "nothing"):
            return path, DAMAGES[kind](path, rng)
        return path, flat.damage_npz(path, rng, ODD_ARRAYS)
    if source.is_dir():
        path = Path(shutil.copytree(source, folder / source.name))
        files = [p for p in sorted(path.rglob("*")) if p.is_file() and p.stat().st_size]
        if kind == "structure":
            return path, flat.damage_folder(path, rng)
        if kind == "attributes":
            return path, flat.damage_record(path, rng)
        damage = DAMAGES[kind if kind == "nothing" else "bytes"]
        spoilt = rng.choice(files)
        return path, f"{damage(spoilt, rng)} of {spoilt.relative_to(path)}"
    if source.parent.name == "data":
        shutil.copytree(source.parents[1], folder / source.parents[1].name, dirs_exist_ok=True)
        path = folder / source.parents[1].name / "data" / source.name
    else:
        path = Path(shutil.copy(source, folder / source.name))
    return path, DAMAGES[kind](path, rng)
