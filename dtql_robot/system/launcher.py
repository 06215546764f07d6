"""Whether a launcher of several processes (torchrun, mpirun, srun) started this one as one of them."""

from __future__ import annotations

import os
from typing import NamedTuple

from dtql_robot.errors import InputError

LAUNCHERS = (
    ("torchrun", "WORLD_SIZE", ("RANK", "LOCAL_RANK")),
    ("mpirun", "OMPI_COMM_WORLD_SIZE", ("OMPI_COMM_WORLD_RANK",)),
    ("mpirun", "PMI_SIZE", ("PMI_RANK",)),
    ("srun", "SLURM_STEP_NUM_TASKS", ("SLURM_PROCID",)),
)
"""Name, the variable with the number of processes, and variables of which one tells this process's own."""


class Launch(NamedTuple):
    """Who started this process, and as one of how many."""

    launcher: str
    processes: int


def launched() -> Launch | None:
    """The launcher that started this process beside others; None where it is the only one."""
    for launcher, size, ranks in LAUNCHERS:
        count = os.environ.get(size, "")
        if count.isdecimal() and int(count) > 1 and any(rank in os.environ for rank in ranks):
            return Launch(launcher, int(count))
    return None


def processes_here() -> int:
    """How many processes of this one's launch share its machine, as far as torchrun tells."""
    found = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return int(found) if launched() and found.isdecimal() else 1


def refuse_launcher(what: str) -> None:
    """InputError where several processes would do one and the same.  what: that runs in one, such as "Training"."""
    found = launched()
    if found is not None:
        raise InputError(
            f"{what} runs in one process, and a launcher such as {found.launcher} started {found.processes} of them; "
            "start `dtql-robot` alone."
        )
