"""Demonstrations and run folders that travel to the machine that a training is done on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dtql_robot.datasets.formats.ogbench_names import recording_beside, validation_part
from dtql_robot.datasets.loader import is_path, split_sources
from dtql_robot.errors import InputError
from dtql_robot.system.cluster import Cluster
from dtql_robot.system.files import new_file

Files = dict[str, bytes]
"""Content by names within a folder, "obs/0.npy"."""


def located(data: str) -> str:
    """Demonstrations by full names, since another machine works in another folder; published names as they are."""
    return ",".join(
        str(Path(source).expanduser().absolute()) if is_path(source) else source for source in split_sources(data)
    )


def travelling(cluster: Cluster, data: Sequence[str]) -> dict[str, Files]:
    """Source -> the files of its folder that it is read from, of each that the cluster's machines do not see.

    data: as `located` gives them.  Published data sets do not travel: each machine fetches what it lacks.
    """
    found = {}
    for source in dict.fromkeys(source for several in data for source in split_sources(several)):
        path = recording_beside(Path(source))
        if is_path(source) and path.exists() and not cluster.sees(path):
            part = validation_part(source, path)
            beside = [] if part is None else [recording_beside(part)]
            found[source] = {
                file.relative_to(path.parent).as_posix(): file.read_bytes()
                for file in (*(sorted(path.rglob("*")) if path.is_dir() else [path]), *beside)
                if file.is_file()
            }
    return found


def unpack(sources: Mapping[str, Files], folder: Path) -> dict[str, str]:
    """Inverse of `travelling`: source -> its name in `folder`."""
    names = {}
    for number, (source, files) in enumerate(sources.items()):
        write_files(folder / str(number), files)
        names[source] = str(folder / str(number) / Path(source).name)
    return names


def renamed(data: str, names: Mapping[str, str]) -> str:
    """Demonstrations by the names that their sources have here."""
    return ",".join(names.get(source, source) for source in split_sources(data))


def read_files(folder: Path) -> Files:
    """What a run folder holds, by names in it; hidden files are somebody's temporary ones."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def write_files(folder: Path, files: Files) -> None:
    """Inverse of `read_files`.  Names that lead out of the folder are refused."""
    for name, content in files.items():
        path = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise InputError(f"A file that came from the cluster has the name {name!r}, which leads out of its folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path, overwrite=True) as temporary:
            temporary.write_bytes(content)
