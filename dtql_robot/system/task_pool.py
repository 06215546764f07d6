"""Many calls of one method spread over worker processes, of which any may die or hang.

Results come in the order of the items, whatever happens to the workers.  A worker that is lost is replaced and what it
worked on is done again, so a method that depends on its item alone gives the same results with and without losses.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dtql_robot.errors import InputError
from dtql_robot.system.workers import Worker, WorkerError

STARTUP_SECONDS = 180.0
"""Beyond the time-out, for a new process to import and build its simulator."""
TRIES = 3
"""How often an item may lose its worker, or fail in it, before it counts as failed."""
_QUEUED = 2  # items at a worker, so that it need not wait for the next one
_AHEAD = 4  # items per worker that may be done before their turn


@dataclass(frozen=True)
class Failed:
    """Stands for the result of an item that failed TRIES times.  reason: of the last time."""

    item: Any
    reason: str


@dataclass
class _Task:
    index: int
    item: Any
    tries: int = 0


@dataclass
class _Slot:
    """A place for one worker.  deadline: time.monotonic() at which its oldest task must be answered."""

    worker: Worker | None = None
    tasks: deque[_Task] = field(default_factory=deque)
    deadline: float = 0.0


class TaskPool:
    """`count` workers, started when there is something to do.

    start: makes a worker.  timeout: seconds in which it must do one item.
    report: told in a sentence of every loss.
    """

    def __init__(
        self,
        start: Callable[[], Worker],
        count: int,
        *,
        timeout: float,
        report: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._start, self._timeout, self._report = start, timeout, report
        self._slots = [_Slot() for _ in range(count)]
        self._taken = 0

    def map(self, method: str, items: Iterable[Any]) -> Iterator[Any]:
        """method(item) for every item, in order, or `Failed`.  InputError as the worker raised it."""
        new = (_Task(index, item) for index, item in enumerate(items))
        again: deque[_Task] = deque()
        done: dict[int, Any] = {}
        turn = 0
        self._taken = 0
        while True:
            self._give(method, again, new, turn + _AHEAD * len(self._slots))
            if turn in done:
                yield done.pop(turn)
                turn += 1
            elif any(slot.tasks for slot in self._slots):
                self._collect(done, again)
            else:
                return

    def _give(self, method: str, again: deque[_Task], new: Iterator[_Task], limit: int) -> None:
        """Fill the workers' queues, the emptiest first, with items before number `limit`."""
        for length in range(_QUEUED):
            for slot in self._slots:
                if len(slot.tasks) > length:
                    continue
                task = again.popleft() if again else self._next(new, limit)
                if task is None:
                    return
                self._send(slot, method, task)

    def _next(self, new: Iterator[_Task], limit: int) -> _Task | None:
        task = next(new, None) if self._taken < limit else None
        self._taken += task is not None
        return task

    def _send(self, slot: _Slot, method: str, task: _Task) -> None:
        grace = 0.0
        if slot.worker is None:
            slot.worker, grace = self._start(), STARTUP_SECONDS
        if not slot.tasks:
            slot.deadline = time.monotonic() + self._timeout + grace
        slot.worker.send(method, task.item)
        slot.tasks.append(task)

    def _collect(self, done: dict[int, Any], again: deque[_Task]) -> None:
        """Wait until something is answered or a deadline passes, and deal with all that has."""
        busy = [slot for slot in self._slots if slot.tasks]
        answered = [s for s in busy if s.worker is not None and s.worker.has_answer]
        if not answered:
            patience = max(0.0, min(s.deadline for s in busy) - time.monotonic())
            readable = select.select([s.worker for s in busy if s.worker is not None], [], [], patience)[0]
            answered = [s for s in busy if s.worker in readable]
        for slot in busy:
            if slot in answered or time.monotonic() >= slot.deadline:
                self._answer(slot, done, again)

    def _answer(self, slot: _Slot, done: dict[int, Any], again: deque[_Task]) -> None:
        """The oldest task's result, or what follows from the loss of its worker."""
        assert slot.worker is not None
        try:
            result = slot.worker.recv(slot.deadline)
        except InputError:
            raise
        except WorkerError as error:
            self._lose(slot, str(error), done, again)
            return
        done[slot.tasks.popleft().index] = result
        slot.deadline = time.monotonic() + self._timeout

    def _lose(self, slot: _Slot, reason: str, done: dict[int, Any], again: deque[_Task]) -> None:
        assert slot.worker is not None
        slot.worker.kill()
        slot.worker = None
        task = slot.tasks.popleft()
        task.tries += 1
        reason = reason if reason.endswith(".") else f"{reason}."
        if task.tries < TRIES:
            self._report(f"{reason} Its work is repeated ({task.tries} of {TRIES - 1}).")
            again.append(task)
        else:
            done[task.index] = Failed(task.item, reason)
        again.extend(slot.tasks)
        slot.tasks.clear()

    def close(self) -> None:
        """End every worker; what is still being worked on is dropped.  Safe to call twice."""
        for slot in self._slots:
            if slot.worker is not None:
                with contextlib.suppress(OSError):
                    slot.worker.kill() if slot.tasks else slot.worker.close()
            slot.worker = None
            slot.tasks.clear()
