"""What makes results differ between machines: the versions of packages and the package's own code."""

from __future__ import annotations

import contextlib
import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "torch",
    "numpy",
    "mujoco",
    "gymnasium",
    "gymnasium-robotics",
    "robosuite",
    "metaworld",
    "ogbench",
    "torchvision",
    "ray",
)
CODE = "dtql-robot's code"


def fingerprint() -> dict[str, str]:
    """Python's and the packages' versions on this machine, and a digest of this package's code."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2]), CODE: _code()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _code() -> str:
    folder = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def difference(machine: str, theirs: Mapping[str, str], mine: Mapping[str, str]) -> str | None:
    """One sentence on how a machine differs from this one; None where it does not."""
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    if not names:
        return None
    found = ", ".join(f"{name} {theirs.get(name, 'missing')} (here {mine.get(name, 'missing')})" for name in names)
    return f"{machine} would give other results: it has {found}; install the same versions on all machines."
