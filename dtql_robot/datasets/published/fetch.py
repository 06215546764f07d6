"""`fetch("robomimic:lift/mh/low_dim")`: the file behind a published name, downloaded once into the cache.

The cache is $DTQL_CACHE, by default ~/.cache/dtql-robot.  OGBench's and Minari's data sets are also found where those
packages keep them, and Minari's are put there.
"""

from __future__ import annotations

import os
from pathlib import Path

from dtql_robot.datasets.formats.minari_names import minari_folder
from dtql_robot.datasets.formats.ogbench_names import own_folder
from dtql_robot.datasets.published.hub import HubFolder, fetch_folder
from dtql_robot.datasets.published.names import MINARI_REPOSITORIES, published_file, repository_of, split_name
from dtql_robot.errors import InputError
from dtql_robot.system.download import Remote, download

CACHE = "DTQL_CACHE"


def fetch(name: str, *, show: bool = True) -> Path:
    """The file or folder of a published data set, downloaded where it is not here yet.

    name: "robomimic:TASK/TYPE/KIND", "d4rl:NAME", "ogbench:NAME", "minari:NAMESPACE/ID" or "lerobot:ORG/NAME".
    show: progress on stderr.
    InputError for a name that is not known, and where the file cannot be fetched: with its address and where to put it.
    """
    scheme, rest = _split(name)
    here = place(name)
    if here.exists():
        return here
    if scheme in ("minari", "lerobot"):
        return fetch_folder(_hub_folder(scheme, rest), here, show=show)
    file = published_file(scheme, rest)
    return download(Remote(file.url, file.size, file.sha256), here, show=show)


def place(name: str) -> Path:
    """Where a published data set is, or would be put.  InputError for a name that is not known."""
    scheme, rest = _split(name)
    if scheme == "minari":
        return minari_folder(rest)
    if scheme == "lerobot":
        repository, revision = repository_of(rest)
        suffix = "" if revision == "main" else f"@{revision.replace('/', '-')}"
        return cache_root() / "lerobot" / f"{repository}{suffix}"
    kept = published_file(scheme, rest).kept
    if scheme == "ogbench" and (own := own_folder()) is not None and (own / kept).is_file():
        return own / kept
    return cache_root() / scheme / kept


def address(name: str) -> str:
    """Where a published data set is fetched from."""
    scheme, rest = _split(name)
    return _hub_folder(scheme, rest).page if scheme in ("minari", "lerobot") else published_file(scheme, rest).url


def cache_root() -> Path:
    """$DTQL_CACHE, else dtql-robot below $XDG_CACHE_HOME or ~/.cache.  InputError where there is no home folder."""
    chosen = os.environ.get(CACHE)
    try:
        if chosen:
            return Path(os.path.abspath(Path(chosen).expanduser()))
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtql-robot"
    except RuntimeError as error:
        raise InputError(f"There is no home folder to keep data sets in; set {CACHE} to a folder.") from error


def _split(name: str) -> tuple[str, str]:
    found = split_name(name)
    if found is None:
        raise InputError(f"{name!r} is not the name of a published data set; expected e.g. robomimic:lift/mh/low_dim.")
    return found


def _hub_folder(scheme: str, name: str) -> HubFolder:
    if scheme == "minari":
        repository, _, below = name.partition("/")
        return HubFolder("minari", f"{MINARI_REPOSITORIES}/{repository}", below)
    repository, revision = repository_of(name)
    return HubFolder("lerobot", repository, revision=revision)
