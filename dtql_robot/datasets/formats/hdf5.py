"""Reading HDF5 so that a damaged or foreign file ends in one sentence, never in a traceback from the library."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats import hdf5_budget
from dtql_robot.datasets.formats.hdf5_errors import DAMAGED, reading, where
from dtql_robot.datasets.formats.hdf5_filters import missing_filter
from dtql_robot.errors import InputError
from dtql_robot.types import Array, is_image

_MAX_DEPTH = 8
_MAX_MEMBERS = 1_000_000
_MAX_EXPANSION = 2000  # deflate reaches about 1030 : 1
_ALWAYS_ALLOWED = 2**20  # bytes
_MAX_LINKS = 64  # that may be followed on the way to one member
_TEXTS_AT_ONCE = 2**26  # bytes of text that are read before they are counted


def children(group: h5py.Group) -> list[str]:
    """Names of the direct members, sorted."""
    names: list[bytes] = []
    with reading(group):
        count = group.id.get_num_objs()
        if count > _MAX_MEMBERS:
            raise ValueError(f"{count} members")
        if count:
            group.id.links.iterate(names.append)
        return sorted(name.decode("utf-8") for name in names)


def member(group: h5py.Group, key: str) -> h5py.Group | h5py.Dataset:
    """Direct or nested member `key` ("a/b").  Links into other files are refused, whatever they point at."""
    node: Any = group
    for part in key.split("/"):
        if not isinstance(node, h5py.Group):
            raise InputError(f"{where(group, key)}: {part!r} leads into an array. The layout is not supported.")
        with reading(group, key):
            opened = _open(node.id, part.encode(), group, key, [_MAX_LINKS])
            if isinstance(opened, h5py.h5g.GroupID):
                node = h5py.Group(opened)
            elif isinstance(opened, h5py.h5d.DatasetID):
                node = h5py.Dataset(opened)
            else:
                node = None
    if node is None:
        raise InputError(f"{where(group, key)} is neither a group nor an array.")
    return node


def _open(parent: Any, name: bytes, group: h5py.Group, key: str, left: list[int]) -> Any:
    """The object behind one link.  Soft links are walked here: HDF5 itself would go through links into other files."""
    kind = parent.links.get_info(name).type
    if kind == h5py.h5l.TYPE_HARD:
        return h5py.h5o.open(parent, name)
    if kind != h5py.h5l.TYPE_SOFT:
        raise InputError(
            f"{where(group, key)} is a link into another file, which is not followed. "
            "Copy the data into one file, e.g. with h5repack or h5copy."
        )
    target = parent.links.get_val(name)
    opened = h5py.h5o.open(parent, b"/") if target.startswith(b"/") else parent
    for part in target.split(b"/"):
        if part in (b"", b"."):
            continue
        left[0] -= 1
        if left[0] < 0:
            raise ValueError(f"more than {_MAX_LINKS} links one after the other")
        if not isinstance(opened, h5py.h5g.GroupID):
            raise ValueError("a link that leads through an array")
        opened = _open(opened, part, group, key, left)
    return opened


def group_names(group: h5py.Group) -> list[str]:
    """The direct members that are groups.  InputError where two names mean one and the same group."""
    found: dict[Any, str] = {}
    for name in children(group):
        identity = _identity_of_group(group, name)
        if identity is None:
            continue
        if identity in found:
            raise InputError(
                f"{where(group, name)} and {found[identity]!r} are one group under two names: each "
                "episode must be stored once. Delete the links."
            )
        found[identity] = name
    return list(found.values())


def _identity_of_group(group: h5py.Group, name: str) -> Any:
    """What tells the group `name` from every other in the file; None where that is no group."""
    with reading(group, name):
        if group.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD:
            facts = h5py.h5g.get_objinfo(group.id, name.encode())
        else:
            node = member(group, name)
            facts = h5py.h5g.get_objinfo(node.id) if isinstance(node, h5py.Group) else None
        return facts.objno if facts is not None and facts.type == h5py.h5g.GROUP else None


def subgroup(group: h5py.Group, key: str) -> h5py.Group:
    """Member `key`, which must be a group."""
    node = member(group, key)
    if not isinstance(node, h5py.Group):
        raise InputError(f"{where(group, key)} is an array; expected a group there.")
    return node


def dataset(group: h5py.Group, key: str) -> h5py.Dataset:
    """Member `key`, which must be an array stored in this file."""
    node = member(group, key)
    if not isinstance(node, h5py.Dataset):
        raise InputError(f"{where(group, key)} is a group; expected an array there.")
    with reading(group, key):
        stored = node.id.get_create_plist()
        outside = stored.get_layout() == h5py.h5d.VIRTUAL or stored.get_external_count() > 0
        compression = None if outside else missing_filter(stored)
    if outside:
        raise InputError(
            f"{where(group, key)} keeps its values in another file, which is not followed. "
            "Copy the data into one file, e.g. with h5repack."
        )
    if compression is not None:
        raise InputError(
            f"{where(group, key)} is compressed with {compression}, which HDF5 reads only with a plugin: "
            "`pip install hdf5plugin`."
        )
    return node


def describe(group: h5py.Group, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of array `key`, without reading its values."""
    return _describe(dataset(group, key), group, key)


def _describe(node: h5py.Dataset, group: h5py.Group, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with reading(group, key):
        if node.id.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise InputError(f"{where(group, key)} contains no values.")
        return node.id.shape, node.id.dtype


def _numeric(group: h5py.Group, key: str) -> tuple[h5py.Dataset, tuple[int, ...], np.dtype[Any]]:
    node = dataset(group, key)
    shape, dtype = _describe(node, group, key)
    if dtype.kind not in "biuf":
        raise InputError(f"{where(group, key)} holds {_kind(dtype)}; expected numbers.")
    _check_size(node, group, key)
    return node, shape, dtype


def _take(
    group: h5py.Group, key: str, node: h5py.Dataset, shape: tuple[int, ...], dtype: np.dtype[Any], partly: bool = False
) -> None:
    """Account for the array, or `partly` for one row; a chunk is unpacked as a whole, whatever is wanted of it."""
    image = is_image(shape[1:], dtype)
    size = dtype.itemsize if image else max(dtype.itemsize, 4)
    count = size * max(math.prod(shape[1:] if partly else shape), math.prod(node.chunks or (0,)))
    hdf5_budget.take(count, where(group, key) if count > _ALWAYS_ALLOWED else key, image)


def read_array(group: h5py.Group, key: str) -> Array:
    """Values of the numeric array `key`, as stored."""
    node, shape, dtype = _numeric(group, key)
    with reading(group, key):
        _take(group, key, node, shape, dtype)
        if dtype.kind == "b":
            return np.asarray(node[()])
        values = np.empty(shape, dtype)
        if values.size:
            node.id.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        return values


def read_last(group: h5py.Group, key: str) -> tuple[int, Array]:
    """Number of rows of the numeric array `key`, and the last one, as stored."""
    node, shape, dtype = _numeric(group, key)
    if not shape or shape[0] == 0:
        raise InputError(f"{where(group, key)} has no rows.")
    with reading(group, key):
        _take(group, key, node, shape, dtype, partly=True)
        return shape[0], np.asarray(node[-1])


def read_row(group: h5py.Group, key: str, row: int) -> Array:
    """Row `row` of the numeric array `key`, as stored."""
    node, shape, dtype = _numeric(group, key)
    if not shape or not 0 <= row < shape[0]:
        raise InputError(f"{where(group, key)} has shape {shape}; expected at least {row + 1} rows.")
    with reading(group, key):
        _take(group, key, node, shape, dtype, partly=True)
        return np.asarray(node[row])


def read_strings(group: h5py.Group, key: str) -> list[str]:
    """Values of the one-dimensional text array `key`, stored as bytes or as strings."""
    node = dataset(group, key)
    shape, dtype = _describe(node, group, key)
    if shape == (0,):
        return []  # of numbers, too: that is how NumPy writes an empty list
    if dtype.kind not in "SUO" or len(shape) != 1:
        raise InputError(f"{where(group, key)} holds {_kind(dtype)} of shape {shape}; expected a list of names.")
    _check_size(node, group, key)
    longest = hdf5_budget.largest_text() if dtype.kind == "O" else dtype.itemsize
    at_once = max(1, _TEXTS_AT_ONCE // (longest + 1))
    texts: list[str] = []
    with reading(group, key):
        for start in range(0, shape[0], at_once):
            values = node[start : start + at_once]
            texts += [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values]
            hdf5_budget.take(4 * sum(map(len, texts[start:])), where(group, key))
    return texts


def read_scalar(group: h5py.Group, key: str) -> Any:
    """The single value `key`, a number or a text."""
    node = dataset(group, key)
    with reading(group, key):
        return node[()]


def _check_size(node: h5py.Dataset, group: h5py.Group, key: str) -> None:
    """A flipped bit in a shape would otherwise ask for terabytes, or for millions of chunks that are not there."""
    with reading(group, key):
        shape = node.id.shape
        claimed = math.prod(shape) * node.id.dtype.itemsize
        if claimed <= _ALWAYS_ALLOWED:
            return
        stored = int(node.id.get_storage_size())
    if claimed > _MAX_EXPANSION * stored:
        raise InputError(
            f"{where(group, key)} claims shape {shape}, {claimed} bytes, but {stored} are stored. {DAMAGED}"
        )


def _kind(dtype: np.dtype[Any]) -> str:
    return {"O": "objects or text", "S": "text", "U": "text", "V": "records", "c": "complex numbers"}.get(
        dtype.kind, f"values of type {dtype}"
    )


def array_keys(group: h5py.Group, prefix: str = "") -> list[str]:
    """Paths ("a/b") of all arrays below `group`, sorted within each level.  InputError where links make a circle."""
    return _array_keys(group, prefix, 0, set())


def _array_keys(group: h5py.Group, prefix: str, depth: int, seen: set[Any]) -> list[str]:
    if depth > _MAX_DEPTH:
        raise InputError(f"{where(group)} is nested more than {_MAX_DEPTH} groups deep. The layout is not supported.")
    with reading(group):
        identity = h5py.h5g.get_objinfo(group.id).objno
    if identity in seen:
        raise InputError(f"{where(group)} is stored under two names, perhaps in a circle. The layout is not supported.")
    seen.add(identity)
    found: list[str] = []
    for name in sorted(children(group)):
        node = member(group, name)
        if isinstance(node, h5py.Group):
            found += _array_keys(node, f"{prefix}{name}/", depth + 1, seen)
        else:
            found.append(prefix + name)
    return found
