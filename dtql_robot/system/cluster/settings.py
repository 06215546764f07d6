"""What a task may use of a cluster, and how jobs are asked for: the file that `--cluster-config` names."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dtql_robot.errors import InputError, did_you_mean

SLURM_ALONE = ("chunk", "jobs", "folder", "slurm")


@dataclass(frozen=True)
class ClusterSettings:
    """Resources of one task, and of Slurm's jobs.

    cpus, gpus  of a task; gpus may be a fraction, so that several share one
    memory_gb   of a task; None: not declared
    retries     how often a task whose process ended or hung is done again; losses of whole machines do not count
    shared      whether all machines see the folders of this one under the same names; None: found out
    chunk       Slurm: tasks of one job, one after the other
    jobs        Slurm: jobs at once
    folder      Slurm: of the jobs' files, which all machines must see
    slurm       Slurm: further parameters of submitit's executor, such as {"slurm_partition": "cpu", "timeout_min": 60};
                {"executor": "local"} runs the jobs on this machine
    """

    cpus: float = 1
    gpus: float = 0
    memory_gb: float | None = None
    retries: int = 2
    shared: bool | None = None
    chunk: int = 4
    jobs: int = 32
    folder: str = ".dtql-jobs"
    slurm: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """InputError for values that no cluster can have."""
        for name, least in (("cpus", 0), ("gpus", 0), ("memory_gb", 0), ("retries", 0), ("chunk", 1), ("jobs", 1)):
            value = getattr(self, name)
            whole = name in ("retries", "chunk", "jobs")
            if value is None and name == "memory_gb":
                continue
            kind: Any = int if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kind) or not least <= value < 1e6:
                expected = f"a {'whole ' if whole else ''}number of {least} or more"
                raise InputError(f"The cluster's {name!r} is {value!r}; expected {expected}.")
        for name, type_, expected in (
            ("folder", str, "a folder"),
            ("slurm", dict, "parameters by their names"),
            ("shared", bool | None, "true, false or null"),
        ):
            if not isinstance(getattr(self, name), type_):
                raise InputError(f"The cluster's {name!r} is {getattr(self, name)!r}; expected {expected}.")


def read_settings(path: Path | None) -> ClusterSettings:
    """The settings in a JSON file; the defaults without one.  InputError for a file that is none."""
    if path is None:
        return ClusterSettings()
    try:
        found = json.loads(path.expanduser().read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); --cluster-config names a JSON file.") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); see docs/scale.md for an example.") from error
    known = [f.name for f in fields(ClusterSettings)]
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}; expected an object with some of {', '.join(known)}.")
    for name in found:
        if name not in known:
            raise InputError(f"{path} has {name!r}. {did_you_mean(name, known)} Known are {', '.join(known)}.")
    return ClusterSettings(**found)
