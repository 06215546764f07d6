"""What other installed packages add to this one: data set formats, environments, encoders, networks.

A package declares them as entry points, "NAME = module:function" below one of GROUPS.  Nothing of a package is imported
before one of its names is asked for, and only installed packages are looked at, never the working folder.

A name that is typed, or given in Python, is consent to run that package's code.  A name that a run folder or a file
holds is not: there the user must name the plugin in $DTQL_PLUGINS ("all" for every one), see `require_consent`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from dtql_robot.errors import InputError, describe, did_you_mean

DATASETS, ENVS, ENCODERS, NETWORKS = (f"dtql_robot.{name}" for name in ("datasets", "envs", "encoders", "networks"))
GROUPS = (DATASETS, ENVS, ENCODERS, NETWORKS)
CONSENT = "DTQL_PLUGINS"

_asked_for: set[tuple[str, str]] = set()
"""What has been loaded in this process, by somebody's wish."""


def installed(group: str) -> list[str]:
    """Names that installed packages add to a group, sorted."""
    return sorted(_found(group))


def is_installed(group: str, name: str, own: Iterable[str]) -> bool:
    """Whether an installed package adds `name`.  InputError where it takes one of this package's `own` names, or where
    two packages add the same one."""
    return _declared(group, name, own) is not None


def load(group: str, name: str, own: Iterable[str]) -> Any:
    """What the entry point leads to.

    own: names of this package, which no other may take.  InputError for a name that nobody has, that two have, and
    where the package cannot be imported.
    """
    point = _declared(group, name, own)
    if point is None:
        known = [*own, *installed(group)]
        hint = did_you_mean(name, known, otherwise=f"Known names: {', '.join(known) or 'none'}.")
        raise InputError(f"No installed package adds {name!r} to {group}. {hint}")
    try:
        found = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of somebody else's package, whatever it raises
        raise InputError(
            f"The plugin {name!r} ({_package(point)}) cannot be imported: {describe(error)}. Fix or "
            "uninstall that package."
        ) from error
    if not callable(found):
        raise InputError(f"The plugin {name!r} ({_package(point)}) is {point.value}; expected a function.")
    _asked_for.add((group, name))
    return found


def call(group: str, name: str, own: Iterable[str], *arguments: Any, **options: Any) -> Any:
    """What the plugin's function returns; InputError with its words where it fails."""
    function = load(group, name, own)
    try:
        return function(*arguments, **options)
    except InputError:
        raise
    except Exception as error:  # of somebody else's package, whatever it raises
        raise InputError(f"The plugin {name!r} ({named(group, name)}) failed: {describe(error)}.") from error


def named(group: str, name: str) -> str:
    """The package that adds a name, with its version: "arm-envs 0.3"."""
    points = _found(group).get(name, ())
    return _package(points[0]) if points else "not installed"


def require_consent(names: Iterable[tuple[str, str]], source: object) -> None:
    """InputError where `source`, which the user was given, names a plugin that the user has not consented to.

    names: (group, name).  Consent is $DTQL_PLUGINS, or that the plugin was asked for in this process already.
    """
    allowed = {text.strip() for text in os.environ.get(CONSENT, "").split(",")}
    for group, name in names:
        if not allowed & {"all", name} and (group, name) not in _asked_for:
            raise InputError(
                f"{source} names the plugin {name!r} ({named(group, name)}), and does not run it by itself. If you "
                f"trust {source}, allow it with {CONSENT}={name}."
            )


def has_consent(group: str, name: str) -> bool:
    """Whether a package adds `name`, and `require_consent` would pass."""
    if name not in _found(group):
        return False
    try:
        require_consent([(group, name)], "")
    except InputError:
        return False
    return True


def _declared(group: str, name: str, own: Iterable[str]) -> metadata.EntryPoint | None:
    points = _found(group).get(name, ())
    if not points:
        return None
    if name in own:
        raise InputError(
            f"{name!r} is a name of this package, and {_package(points[0])} adds it to {group} too; "
            "uninstall that package, or rename its entry point."
        )
    if len(points) > 1:
        both = " and ".join(sorted(map(_package, points)))
        raise InputError(f"{name!r} is added to {group} by {both}; uninstall one of them.")
    return points[0]


@functools.cache
def _found(group: str) -> dict[str, tuple[metadata.EntryPoint, ...]]:
    """Name -> the entry points that have it, each from another package."""
    found: dict[str, dict[str, metadata.EntryPoint]] = {}
    here = os.path.realpath(os.getcwd())
    for point in metadata.entry_points(group=group):
        if point.dist is None or os.path.realpath(str(point.dist.locate_file(""))) == here:
            continue  # metadata that lies in the working folder belongs to nothing that is installed
        found.setdefault(point.name, {})[point.dist.name] = point
    return {name: tuple(points.values()) for name, points in found.items()}


def _package(point: metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
