"""Reading HDF5 so that a damaged or foreign file ends in one sentence, never in a traceback from the library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats.hdf5_errors import reading, where
from dtql_robot.datasets.formats.hdf5_stored import Stored
from dtql_robot.errors import InputError
from dtql_robot.types import Array

_MAX_DEPTH = 8
_MAX_MEMBERS = 1_000_000
_MAX_LINKS = 64  # that may be followed on the way to one member


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
    opened = _find(group, key)
    return h5py.Group(opened) if isinstance(opened, h5py.h5g.GroupID) else h5py.Dataset(opened)


def _find(group: h5py.Group, key: str) -> h5py.h5g.GroupID | h5py.h5d.DatasetID:
    """What `member` is made of; arrays by the hundred are read without h5py's own objects around them."""
    found: Any = group.id
    with reading(group, key):
        for part in key.split("/"):
            if not isinstance(found, h5py.h5g.GroupID):
                raise InputError(f"{where(group, key)}: {part!r} leads into an array. The layout is not supported.")
            found = _open(found, part.encode(), group, key, [_MAX_LINKS])
    if not isinstance(found, (h5py.h5g.GroupID, h5py.h5d.DatasetID)):
        raise InputError(f"{where(group, key)} is neither a group nor an array.")
    return found


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


def stored(group: h5py.Group, key: str) -> Stored:
    """Member `key`, which must be an array stored in this file."""
    opened = _find(group, key)
    if not isinstance(opened, h5py.h5d.DatasetID):
        raise InputError(f"{where(group, key)} is a group; expected an array there.")
    return Stored(opened, group, key)


def describe(group: h5py.Group, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of array `key`, without reading its values."""
    array = stored(group, key)
    return array.shape, array.dtype


def read_array(group: h5py.Group, key: str) -> Array:
    """Values of the numeric array `key`, as stored."""
    return stored(group, key).read()


def read_last(group: h5py.Group, key: str) -> tuple[int, Array]:
    """Number of rows of the numeric array `key`, and the last one, as stored."""
    array = stored(group, key)
    last = array.read_row(-1)
    return array.shape[0], last


def read_row(group: h5py.Group, key: str, row: int) -> Array:
    """Row `row` of the numeric array `key`, as stored."""
    return stored(group, key).read_row(row)


def read_strings(group: h5py.Group, key: str) -> list[str]:
    """Values of the one-dimensional text array `key`, stored as bytes or as strings."""
    return stored(group, key).read_strings()


def read_scalar(group: h5py.Group, key: str) -> Any:
    """The single value `key`, a number or a text."""
    return stored(group, key).read_scalar()


def array_keys(group: h5py.Group, prefix: str = "") -> list[str]:
    """Paths ("a/b") of all arrays below `group`, sorted within each level.  InputError where links make a circle."""
    return [path for path, *_ in _walk(group, prefix, 0, set())]


def arrays(group: h5py.Group, prefix: str = "") -> Iterator[tuple[str, Stored]]:
    """All arrays below `group` with their paths, in the order of `array_keys`."""
    for path, parent, node in _walk(group, prefix, 0, set()):
        yield path, Stored(node.id, parent, path.rsplit("/", 1)[-1])


def _walk(group: h5py.Group, prefix: str, depth: int, seen: set[Any]) -> Iterator[tuple[str, h5py.Group, h5py.Dataset]]:
    """Path, group and node of every array."""
    if depth > _MAX_DEPTH:
        raise InputError(f"{where(group)} is nested more than {_MAX_DEPTH} groups deep. The layout is not supported.")
    with reading(group):
        identity = h5py.h5g.get_objinfo(group.id).objno
    if identity in seen:
        raise InputError(f"{where(group)} is stored under two names, perhaps in a circle. The layout is not supported.")
    seen.add(identity)
    for name in children(group):
        node = member(group, name)
        if isinstance(node, h5py.Group):
            yield from _walk(node, f"{prefix}{name}/", depth + 1, seen)
        else:
            yield prefix + name, group, node
