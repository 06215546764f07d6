"""Packages with entry points for this one, installed into a folder of their own."""

from __future__ import annotations

from pathlib import Path


def add_package(site: Path, name: str, entry_points: dict[str, dict[str, str]], version: str = "1.0") -> None:
    """The metadata of an installed package as pip leaves it.  entry_points: group -> name -> "module:attribute"."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, names in entry_points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
