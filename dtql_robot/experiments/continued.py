"""Whether runs that a suite's folder holds already are those that are asked for now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtql_robot.errors import InputError
from dtql_robot.experiments.estimate import Work
from dtql_robot.experiments.jobs import Job
from dtql_robot.run_folder import CHECKPOINT, RESULTS, flatten, read_config

OPEN: tuple[object, ...] = (None, "auto", (), [])
"""Values of settings that are left to the data."""
_NO_RESULT = frozenset(
    {"log_every", "checkpoint_every", "device", "threads", "optim.compile", "optim.cuda_graph", "plugins"}
)
"""Settings that change nothing of what is learned."""


def check_continued(works: Mapping[Job, Work]) -> None:
    """InputError where a job's folder holds a run of other settings or data: its results would pass for these."""
    for job, work in works.items():
        if not any((job.folder / name).is_file() for name in (CHECKPOINT, RESULTS)):
            continue
        try:
            saved = read_config(job.folder)
        except InputError:  # the run itself will say what is damaged
            continue
        what = _differing(flatten(work.settings.to_dict()), flatten(saved["config"]))
        if not job.task.by_name and saved["data"].rpartition("/")[2] != job.data.name:
            what = [f"data was {saved['data']}, now {job.data}", *what]
        if what:
            raise InputError(
                f"{job.folder} holds a run with other settings or data: {', '.join(what)}. Give the same options "
                "again, choose another --out, or remove that folder."
            )


def _differing(asked: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    """What is asked for otherwise than it was trained.  Evaluations while training are no part of a result."""
    names = [k for k, v in asked.items() if k in saved and v not in OPEN and k not in _NO_RESULT]
    return [
        f"{k} was {saved[k]!r}, now {asked[k]!r}"
        for k in names
        if not k.startswith("watch.") and _plain(saved[k]) != _plain(asked[k])
    ]


def _plain(value: Any) -> Any:
    """A tuple as JSON has it."""
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value
