"""What lies where in a dataset file: every group, array and attribute name, of one episode for all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py

from dtql_robot.datasets.formats import hdf5, hdf5_attrs
from dtql_robot.datasets.formats.hdf5_open import open_file
from dtql_robot.datasets.formats.lerobot.folder import is_lerobot_folder
from dtql_robot.datasets.formats.lerobot.meta import read_meta
from dtql_robot.datasets.formats.location import resolve
from dtql_robot.datasets.formats.plugin_read import split_plugin
from dtql_robot.datasets.formats.robomimic_layout import natural_order

_NUMBERED = re.compile(r"(demo|episode)_\d+")
_MOST = 200  # lines; a file with more is not one of demonstrations


def file_tree(data: str | Path) -> list[dict[str, Any]]:
    """[{"path", "shape", "dtype", "attrs"}] in the file's order; shape and dtype are None for a group.

    Of numbered episodes in a group only the first is described, and {"path": "data/demo_*", "count": n} says how many
    there are.  Of a LeRobot folder the features are listed, and nothing of what a plugin reads.  InputError for a
    damaged file.
    """
    if split_plugin(data) is not None:
        return []
    path = resolve(data)
    if is_lerobot_folder(path):
        features = read_meta(path).features.values()
        return [{"path": f.name, "shape": list(f.shape), "dtype": f.dtype, "attrs": []} for f in features]
    with open_file(path) as file:
        lines: list[dict[str, Any]] = []
        _walk(file, "", lines)
    return lines


def _walk(group: h5py.Group, prefix: str, lines: list[dict[str, Any]]) -> None:
    names = sorted(hdf5.children(group), key=natural_order)
    episodes = [n for n in names if _NUMBERED.fullmatch(n)]
    for name in [n for n in names if n not in episodes[1:]]:
        if len(lines) >= _MOST or prefix.count("/") > 8:
            return
        node = hdf5.member(group, name)
        path = f"{prefix}{name}"
        if name in episodes and len(episodes) > 1:
            lines.append({"path": f"{prefix}{name.rsplit('_', 1)[0]}_*", "count": len(episodes)})
        attrs = sorted(hdf5_attrs.attributes(node))
        if isinstance(node, h5py.Group):
            lines.append({"path": path, "shape": None, "dtype": None, "attrs": attrs})
            _walk(node, f"{path}/", lines)
        else:
            shape, dtype = hdf5.describe(group, name)
            kind = "text" if dtype.kind in "SO" else str(dtype)
            lines.append({"path": path, "shape": list(shape), "dtype": kind, "attrs": attrs})


def format_tree(lines: list[dict[str, Any]]) -> list[str]:
    """One line of text for each entry, indented by its depth."""
    text = []
    for line in lines:
        depth = line["path"].count("/")
        name = "  " * depth + line["path"].rsplit("/", 1)[-1]
        if "count" in line:
            text.append(f"{name} ({line['count']}, of which the first:)")
            continue
        shape = "" if line["shape"] is None else "(" + ", ".join(map(str, line["shape"])) + ")"
        attrs = f"  [{', '.join(line['attrs'])}]" if line["attrs"] else ""
        text.append(f"{name:<28} {shape} {line['dtype'] or ''}{attrs}".rstrip()[:99])
    return text
