"""Reading HDF5 so that a damaged or foreign file ends in one sentence, never in a traceback from the library."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dtql_robot.datasets.formats.hdf5_heap import check_heaps
from dtql_robot.errors import InputError
from dtql_robot.types import Array

# All that h5py raises for damaged content; which of them depends on the damaged byte.
_LIBRARY_ERRORS = (
    OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError, OverflowError, AttributeError, SystemError,
)  # fmt: skip
_FOREIGN = {
    b"PK\x03\x04": "it is a zip archive, perhaps NumPy's .npz; unzip it, or write its arrays as robomimic HDF5",
    b"\x1f\x8b": "it is compressed with gzip; unpack it first",
    b"\x93NUMPY": "it is a NumPy array; write its contents as robomimic HDF5",
    b"\x80\x04\x95": "it is a Python pickle; write its contents as robomimic HDF5",
    b"\x80\x05\x95": "it is a Python pickle; write its contents as robomimic HDF5",
    b"PAR1": "it is a Parquet file, as LeRobot's; write its contents as robomimic HDF5",
    b"<": "it is a web page or XML; the download went wrong",
}
DAMAGED = "The file is damaged or incomplete: fetch it again."
_MAX_DEPTH = 8
_MAX_MEMBERS = 1_000_000
_MAX_EXPANSION = 2000  # deflate reaches about 1030 : 1
_ALWAYS_ALLOWED = 2**20  # bytes


class reading:  # noqa: N801 (a context manager; as a class it costs a tenth of a generator, on every array)
    """Turn every error of the HDF5 library inside the block into an InputError that names `place` (and `key` in it)."""

    __slots__ = ("_key", "_place")

    def __init__(self, place: str | h5py.Group | h5py.Dataset, key: str = "") -> None:
        self._place, self._key = place, key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, InputError) or not isinstance(error, _LIBRARY_ERRORS):
            return
        place = self._place if isinstance(self._place, str) else where(self._place, self._key)
        reason = " ".join(str(error).split()).strip("\"'")[:200] or type(error).__name__
        raise InputError(f"{place} cannot be read (HDF5 says: {reason}). {DAMAGED}") from error


@contextmanager
def open_file(path: Path) -> Iterator[h5py.File]:
    """Open `path` read-only.  InputError for a missing, empty, foreign, truncated or locked file."""
    check_is_hdf5(path)
    with reading(str(path)):
        check_heaps(path)
        file = h5py.File(path, "r")
    try:
        yield file
    finally:
        file.close()


def check_is_hdf5(path: Path) -> None:
    """InputError for a missing, empty or foreign file."""
    if not path.exists():
        raise InputError(f"{path}: no such file. Check the path (relative paths start at {Path.cwd()}).")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; a dataset file (.hdf5) was expected.")
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
        is_hdf5 = bool(h5py.is_hdf5(path))
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error
    if not head:
        raise InputError(f"{path} is empty (0 bytes). Fetch or write it again.")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer, not the data. Run `git lfs pull` where it was cloned.")
    if not is_hdf5:
        kind = next((kind for start, kind in _FOREIGN.items() if head.startswith(start)), "")
        raise InputError(f"{path} is not an HDF5 file ({kind or f'it starts with {head[:12]!r}'}). A robomimic, Minari "
                         "or D4RL dataset file was expected.")  # fmt: skip


def file_name(node: h5py.Group | h5py.Dataset) -> str:
    """The file's own name, without its folders, for messages."""
    return Path(str(node.file.filename)).name


def where(group: h5py.Group | h5py.Dataset, key: str = "") -> str:
    """Place of a member for messages: "data/demo_0/actions in lift.hdf5"."""
    inside = "/".join(part for part in (str(group.name or "").strip("/"), key) if part)
    return f"{inside or 'the top level'} in {file_name(group)}"


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
            raise InputError(f"{where(group, key)}: {part!r} was looked for inside an array. The layout is not known.")
        with reading(group, key):
            name = part.encode()
            if node.id.links.get_info(name).type == h5py.h5l.TYPE_EXTERNAL:
                raise InputError(f"{where(group, key)} is a link into another file, which is not followed. "
                                 "Copy the data into one file, e.g. with h5repack or h5copy.")  # fmt: skip
            opened = h5py.h5o.open(node.id, name)
            if isinstance(opened, h5py.h5g.GroupID):
                node = h5py.Group(opened)
            elif isinstance(opened, h5py.h5d.DatasetID):
                node = h5py.Dataset(opened)
            else:
                node = None
    if node is None:
        raise InputError(f"{where(group, key)} is neither a group nor an array.")
    return node


def is_group(group: h5py.Group, name: str) -> bool:
    """Whether the direct member `name` is a group."""
    with reading(group, name):
        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            return isinstance(member(group, name), h5py.Group)
        return bool(h5py.h5g.get_objinfo(group.id, name.encode()).type == h5py.h5g.GROUP)


def subgroup(group: h5py.Group, key: str) -> h5py.Group:
    """Member `key`, which must be a group."""
    node = member(group, key)
    if not isinstance(node, h5py.Group):
        raise InputError(f"{where(group, key)} is an array; a group was expected there.")
    return node


def dataset(group: h5py.Group, key: str) -> h5py.Dataset:
    """Member `key`, which must be an array stored in this file."""
    node = member(group, key)
    if not isinstance(node, h5py.Dataset):
        raise InputError(f"{where(group, key)} is a group; an array was expected there.")
    with reading(group, key):
        stored = node.id.get_create_plist()
        outside = stored.get_layout() == h5py.h5d.VIRTUAL or stored.get_external_count() > 0
    if outside:
        raise InputError(f"{where(group, key)} keeps its values in another file, which is not followed. "
                         "Copy the data into one file, e.g. with h5repack.")  # fmt: skip
    return node


def describe(group: h5py.Group, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of array `key`, without reading its values."""
    return _describe(dataset(group, key), group, key)


def _describe(node: h5py.Dataset, group: h5py.Group, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with reading(group, key):
        if node.id.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise InputError(f"{where(group, key)} holds no values.")
        return node.id.shape, node.id.dtype


def _numeric(group: h5py.Group, key: str) -> tuple[h5py.Dataset, tuple[int, ...], np.dtype[Any]]:
    node = dataset(group, key)
    shape, dtype = _describe(node, group, key)
    if dtype.kind not in "biuf":
        raise InputError(f"{where(group, key)} holds {_kind(dtype)}; numbers were expected.")
    _check_size(node, group, key)
    return node, shape, dtype


def read_array(group: h5py.Group, key: str) -> Array:
    """Values of the numeric array `key`, as stored."""
    node, shape, dtype = _numeric(group, key)
    with reading(group, key):
        if dtype.kind == "b":
            return np.asarray(node[()])
        values = np.empty(shape, dtype)
        if values.size:
            node.id.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        return values


def read_last(group: h5py.Group, key: str) -> tuple[int, Array]:
    """Number of rows of the numeric array `key`, and the last one, as stored."""
    node, shape, _ = _numeric(group, key)
    if not shape or shape[0] == 0:
        raise InputError(f"{where(group, key)} has no rows.")
    with reading(group, key):
        return shape[0], np.asarray(node[-1])


def read_row(group: h5py.Group, key: str, row: int) -> Array:
    """Row `row` of the numeric array `key`, as stored."""
    node, shape, _ = _numeric(group, key)
    if not shape or not 0 <= row < shape[0]:
        raise InputError(f"{where(group, key)} has shape {shape}; at least {row + 1} rows were expected.")
    with reading(group, key):
        return np.asarray(node[row])


def read_strings(group: h5py.Group, key: str) -> list[str]:
    """Values of the one-dimensional text array `key`, stored as bytes or as strings."""
    node = dataset(group, key)
    shape, dtype = _describe(node, group, key)
    if shape == (0,):
        return []  # of numbers, too: that is how NumPy writes an empty list
    if dtype.kind not in "SUO" or len(shape) != 1:
        raise InputError(f"{where(group, key)} holds {_kind(dtype)} of shape {shape}; a list of names was expected.")
    _check_size(node, group, key)
    with reading(group, key):
        values = node[()]
        return [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values]


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


def array_keys(group: h5py.Group, prefix: str = "", depth: int = 0) -> list[str]:
    """Paths ("a/b") of all arrays below `group`, sorted within each level."""
    if depth > _MAX_DEPTH:
        raise InputError(f"{where(group)} is nested more than {_MAX_DEPTH} groups deep. The layout is not known.")
    found: list[str] = []
    for name in sorted(children(group)):
        node = member(group, name)
        if isinstance(node, h5py.Group):
            found += array_keys(node, f"{prefix}{name}/", depth + 1)
        else:
            found.append(prefix + name)
    return found


def attributes(node: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """All attributes as JSON-able Python values."""
    with reading(node, "(attributes)"):
        return {str(key): plain(value) for key, value in node.attrs.items()}


def plain(value: Any) -> Any:
    """JSON-able form of an attribute: bytes become text, arrays lists, numpy scalars Python numbers."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def parse_json_object(text: Any, place: str) -> dict[str, Any]:
    """`text` as a JSON object.  InputError naming `place` when it is none."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{place} is not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise InputError(f"{place} is JSON of type {type(value).__name__}; an object was expected.")
    return value
