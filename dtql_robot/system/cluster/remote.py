"""What runs where a task was sent: a worker process that holds its simulator, kept for the tasks that follow."""

from __future__ import annotations

import os
import pickle
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dtql_robot.errors import InputError
from dtql_robot.system.cluster.versions import difference, fingerprint
from dtql_robot.system.workers import Worker, WorkerError

STARTUP_SECONDS = 180.0

_SETTING = re.compile(r"DTQL_PLUGINS|DTQL_\w+_URL").fullmatch  # consent to plugins; mirrors

Answer = tuple[Literal["ok", "input_error", "lost"], Any]
"""A task's result; the sentence of an InputError; why its process was lost."""


@dataclass(frozen=True)
class Holder:
    """What a worker process holds: `factory(*args)`, see `workers.Worker`.

    args      pickled, because they travel further
    versions  of the sender; None where they have been compared already
    path      folders that the sender finds modules in, looked in last
    settings  environment variables of the sender's user, where the machine has none of its own
    """

    factory: str
    args: bytes
    versions: dict[str, str] | None = None
    path: tuple[str, ...] = field(default_factory=lambda: tuple(os.path.abspath(folder) for folder in sys.path))
    settings: dict[str, str] = field(default_factory=lambda: {n: v for n, v in os.environ.items() if _SETTING(n)})


_held: dict[str, Worker] = {}
"""The worker of this process by its pool's key; one at a time."""


def answer(key: str, load: Callable[[], Holder], method: str, items: Sequence[Any], timeout: float) -> list[Answer]:
    """method(item) of the pool's holder for every item; ends at the first InputError, which is not for one item alone.

    load: brings the holder, if this process has none of the pool yet.  timeout: seconds for an item.
    """
    answers: list[Answer] = []
    for item in items:
        try:
            worker, grace = _worker(key, load)
            worker.send(method, item)
            answers.append(("ok", worker.recv(time.monotonic() + timeout + grace)))
        except InputError as error:
            _drop()
            return [*answers, ("input_error", str(error))]
        except WorkerError as error:
            _drop()
            answers.append(("lost", str(error)))
    return answers


def _worker(key: str, load: Callable[[], Holder]) -> tuple[Worker, float]:
    """The pool's worker, and the seconds that it may need to start."""
    if key in _held:
        return _held[key], 0.0
    _drop()
    holder = load()
    if holder.versions is not None:
        wrong = difference(f"The machine {os.uname().nodename}", fingerprint(), holder.versions)
        if wrong:
            raise InputError(wrong)
    sys.path += [folder for folder in holder.path if folder not in sys.path and os.path.isdir(folder)]
    for name, value in holder.settings.items():
        os.environ.setdefault(name, value)
    _held[key] = Worker(holder.factory, *pickle.loads(holder.args))
    return _held[key], STARTUP_SECONDS


def _drop() -> None:
    while _held:
        _held.popitem()[1].kill()
