"""The suite of a user's own demonstrations: each data set is a task, and the question is which method it asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dtql_robot.datasets.formats.ogbench_names import recording_beside
from dtql_robot.datasets.loader import is_path, split_sources
from dtql_robot.datasets.published.names import is_published
from dtql_robot.errors import InputError
from dtql_robot.experiments.suites import OWN, BenchTask
from dtql_robot.system.files import expanded

FILE_ENDINGS = (".zip", ".hdf5", ".h5", ".npz", ".zarr")
"""What names of files end with and names of tasks do not."""


def own_tasks(data: Sequence[str], env: str | None) -> dict[BenchTask, Path]:
    """Each data set's task -> its demonstrations, as `train --data` takes them.

    data: as given; sources that commas join are one data set.  env: of all; None: as each data set records it.
    InputError for no data, where a file is missing, and where two data sets would have one name.
    """
    if not data:
        raise InputError(f"the suite {OWN} compares methods on your demonstrations; name them with --data demos.hdf5.")
    options = () if env is None else ("--env", env)
    found: dict[BenchTask, Path] = {}
    for given in data:
        sources = [_source(part) for part in split_sources(given)]
        by_name = sources[0] if len(sources) == 1 and is_published(sources[0]) else ""
        task = BenchTask("-".join(map(_named, sources)), source=given, options=options, by_name=by_name)
        if twin := next((t for t in found if t.name == task.name), None):
            raise InputError(
                f"--data: {twin.source} and {given} would both be called {task.name} in the tables; rename one of the "
                "files, or run them with an --out of their own."
            )
        found[task] = Path(",".join(sources))
    return found


def check_environment(data: str, env: str | None) -> None:
    """InputError where nobody says in which environment policies learned from `data` are to be judged."""
    from dtql_robot.datasets import load
    from dtql_robot.env_record import choose_env

    demos = load(data)
    choose_env(env, demos.env_spec, demos.env_args, source=data).require()


def _source(part: str) -> str:
    """A path without ~; anything else as it is.  InputError where there is no such path."""
    if not is_path(part):
        return part
    path = expanded(Path(part))
    if not recording_beside(path).exists():
        raise InputError(f"--data: there is no {path}.")
    return str(path)


def _named(source: str) -> str:
    """What a table and a folder can call it: lift of demos/lift.hdf5, D4RL-pen-human-v2 of minari:D4RL/pen/human-v2."""
    found = Path(source).resolve().name if is_path(source) else source.partition(":")[2]
    for ending in FILE_ENDINGS:
        found = found.removesuffix(ending)
    return re.sub(r"[^A-Za-z0-9_.]+", "-", found).strip("-.") or "data"
