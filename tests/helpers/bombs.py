"""Small files that claim far more than they hold, each made to exhaust the memory or the time of a reader."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def _demo(data: h5py.Group, name: str, **arrays: Any) -> h5py.Group:
    demo = data.create_group(name)
    fields: dict[str, Any] = {
        "actions": np.random.default_rng(len(name)).uniform(-1, 1, (20, 3)),
        "obs/x": np.ones((20, 4)),
        "rewards": np.eye(20)[-1],
        "dones": np.eye(20)[-1],
    }
    for key, value in (fields | arrays).items():
        if value is not None:
            demo[key] = value
    return demo


def _zeros(demo: h5py.Group, key: str, rows: int, columns: int, dtype: str = "f4") -> None:
    """Gigabytes of zeros in kilobytes: one chunk is deflated, and written everywhere."""
    chunk = (min(rows, 2**24 // columns), columns)
    kept = demo.create_dataset(key, (rows, columns), dtype, chunks=chunk, compression="gzip")
    packed = zlib.compress(bytes(chunk[0] * columns * kept.dtype.itemsize), 6)
    for start in range(0, rows, chunk[0]):
        kept.id.write_direct_chunk((start, 0), packed)


def zeros(path: Path) -> None:
    """Arrays of zeros, compressed 1000 : 1."""
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        for key, columns in (("actions", 4), ("obs/x", 64), ("rewards", 1), ("dones", 1)):
            _zeros(demo, key, 2**23, columns)


def extras(path: Path) -> None:
    """The same in arrays that nobody asked for, a byte a value."""
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        _zeros(demo, "actions", 2**20, 1)
        _zeros(demo, "obs/x", 2**20, 1)
        for i in range(16):
            _zeros(demo, f"extra_{i}", 2**20, 256, "u1")


def one_demo_many_names(path: Path) -> None:
    """One demo of a megabyte under 1,500 names."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        values = np.random.default_rng(0).normal(size=(20, 2**14))
        first = _demo(data, "demo_0", **{"obs/x": values})
        for i in range(1, 1500):
            data[f"demo_{i}"] = first


def one_demo_many_soft_names(path: Path) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        _demo(data, "demo_0", **{"obs/x": np.random.default_rng(0).normal(size=(20, 2**14))})
        for i in range(1, 1500):
            data[f"demo_{i}"] = h5py.SoftLink("/data/demo_0")


def one_array_many_demos(path: Path) -> None:
    """1,500 demos that share one array."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        values = data.create_dataset("shared", data=np.random.default_rng(0).normal(size=(20, 2**15)))
        for i in range(1500):
            demo = _demo(data, f"demo_{i}", **{"obs/x": None})
            demo["obs/x"] = values


def one_array_many_keys(path: Path) -> None:
    with h5py.File(path, "w") as file:
        demo = _demo(file.create_group("data"), "demo_0")
        demo["obs/big"] = np.random.default_rng(0).normal(size=(20, 2**15))
        for i in range(1500):
            demo[f"obs/big_{i}"] = demo["obs/big"]


def texts(path: Path) -> None:
    """A filter key of 60,000 names that are one text of 100 KB."""
    count, size = 60_000, 100_000
    with h5py.File(path, "w") as file:
        _demo(file.create_group("data"), "demo_0")
        kept = file.create_dataset("mask/train", (count,), h5py.string_dtype())
        kept[0] = "x" * size
        kept[1:] = "y"
        place = kept.id.get_offset()
    content = bytearray(path.read_bytes())
    content[place : place + 16 * count] = content[place : place + 16] * count
    path.write_bytes(content)


def attribute_texts(path: Path) -> None:
    """An attribute of 4,000 texts that are one of 1 MB."""
    count, size = 4000, 1_000_000
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        _demo(data, "demo_0")
        data.attrs.create("names", ["x" * size] + ["y"] * (count - 1), dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    # a reference: length, address of the collection, index; the first has the length of the long text
    start = content.index(size.to_bytes(4, "little"))
    while int.from_bytes(content[start + 16 : start + 20], "little") != 1:
        start = content.index(size.to_bytes(4, "little"), start + 1)
    content[start : start + 16 * count] = content[start : start + 16] * count
    path.write_bytes(content)


def circles(path: Path) -> None:
    """Groups that hold each other under twenty names."""
    with h5py.File(path, "w") as file:
        demo = _demo(file.create_group("data"), "demo_0")
        for i in range(20):
            demo[f"obs/round_{i}"] = demo["obs"]


def soft_circles(path: Path) -> None:
    """Links whose path goes through links whose path goes through links."""
    with h5py.File(path, "w") as file:
        demo = _demo(file.create_group("data"), "demo_0")
        demo["obs/a"] = h5py.SoftLink("/data/demo_0/obs/" + "b/" * 30)
        demo["obs/b"] = h5py.SoftLink("/data/demo_0/obs/" + "./c/" * 30)
        demo["obs/c"] = h5py.SoftLink("/data/demo_0/obs")


def wide_chunk(path: Path) -> None:
    """Twenty rows in a chunk of a gigabyte."""
    with h5py.File(path, "w") as file:
        demo = _demo(file.create_group("data"), "demo_0", **{"obs/x": None})
        kept = demo.create_dataset("obs/x", (20, 4), "f4", maxshape=(None, 4), chunks=(2**26, 4), compression="gzip")
        deflate = zlib.compressobj(1)
        packed = [deflate.compress(bytes(2**24)) for _ in range(64)]
        kept.id.write_direct_chunk((0, 0), b"".join([*packed, deflate.flush()]))


def just_within(path: Path) -> None:
    """Nothing but actions, as many as are let through."""
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        _zeros(demo, "actions", 2**24, 1)
        _zeros(demo, "obs/x", 2**24, 1)
        demo["padding"] = np.random.default_rng(0).integers(0, 2**63, 2**19)


BOMBS: dict[str, Callable[[Path], None]] = {
    f.__name__: f
    for f in (
        zeros,
        extras,
        one_demo_many_names,
        one_demo_many_soft_names,
        one_array_many_demos,
        one_array_many_keys,
        texts,
        attribute_texts,
        circles,
        soft_circles,
        wide_chunk,
        just_within,
    )
}
