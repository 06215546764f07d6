"""`dtql-robot data`: published data sets and the cache that they are downloaded into."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from dtql_robot.errors import InputError

INTERRUPTED = "What has been downloaded is kept; the same command continues from there."


@dataclass(frozen=True, kw_only=True)
class Options:
    """List published data sets, download them, print where they are, or delete them.

    Every command that reads demonstrations also accepts these names, and downloads the data if needed. The cache is
    ~/.cache/dtql-robot, or $DTQL_CACHE. Without a network, `path` says where to put a file you already have.
    Examples: dtql-robot data list robomimic
              dtql-robot data fetch robomimic:lift/mh/low_dim d4rl:door-human-v1
    """

    action: Positional[Literal["list", "fetch", "path", "remove"]]
    """list: what is available, and what is already here. fetch: download. path: where it is or would be stored. remove:
    delete the local copy."""
    names: Positional[tuple[str, ...]] = ()
    """Data sets as robomimic:TASK/TYPE/KIND, d4rl:NAME, ogbench:NAME, minari:NAMESPACE/ID, lerobot:ORG/NAME. With list:
    the parts before the colon to show."""
    url: str | None = None
    """Mirror to download from instead of the usual address."""


def run(options: Options) -> None:
    """Carry out the action for each name."""
    if options.action == "list":
        _list(options.names)
        return
    if not options.names:
        raise InputError(f"NAMES is missing; name the data sets to {options.action}, e.g. robomimic:lift/mh/low_dim.")
    if options.url is not None:
        _use_mirror(options.names, options.url)
    from dtql_robot.datasets.published.fetch import address, fetch, place
    from dtql_robot.datasets.published.shelf import remove

    for name in options.names:  # a slip in the last one is found before the first is fetched
        place(name)
    for name in options.names:
        if options.action == "fetch":
            print(fetch(name))
        elif options.action == "remove":
            gone = remove(name)
            print(f"removed {gone}" if gone else f"{name} is not here")
        else:
            found = place(name)
            print(found)
            if not found.exists():
                raise InputError(
                    f"{name} is not here yet. Fetch it with `dtql-robot data fetch {name}`, or put "
                    f"{address(name)} at {found}."
                )


MORE = {
    "ogbench": "any other of OGBench's names",
    "minari": "any of minari.farama.org, as minari:D4RL/door/human-v2",
    "lerobot": "any data set of huggingface.co, as lerobot:lerobot/pusht",
}
"""What can be fetched of the schemes that have more than can be listed."""


def _list(schemes: tuple[str, ...]) -> None:
    from dtql_robot.datasets.published.names import SCHEMES
    from dtql_robot.datasets.published.shelf import known_names, size_here

    for scheme in (text.rstrip(":") for text in schemes or SCHEMES):
        for name in known_names(scheme):
            size = size_here(f"{scheme}:{name}")
            print(f"{scheme}:{name}" + ("" if size is None else f"  {size / 1e6:,.1f} MB here"))
        if scheme in MORE:
            print(f"{scheme}: {MORE[scheme]}")


def _use_mirror(names: tuple[str, ...], url: str) -> None:
    from dtql_robot.datasets.published.names import mirror_variable, split_name

    for name in names:
        if (found := split_name(name)) is not None:
            os.environ[mirror_variable(found[0])] = url
