"""`task_pool.TaskPool` for tasks that are done elsewhere: results in the order of the items, whatever is lost."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dtql_robot.errors import InputError
from dtql_robot.system.cluster.remote import Answer
from dtql_robot.system.task_pool import Failed

LOSSES = 20
"""How often a task may lose the machine it is on; one that always does is what ends them."""


class MachineLostError(Exception):
    """What did a task is gone, and no fault of the task is known.  The message is a sentence."""


class Sender(Protocol):
    """Ray or Slurm.

    at_once  how many sendings may be under way;  chunk: tasks of each
    """

    at_once: int
    chunk: int

    def send(self, method: str, items: Sequence[Any]) -> Any:
        """Send tasks away.  Returns something that stands for their answers."""

    def wait(self, sent: Sequence[Any]) -> list[Any]:
        """Those of `sent` that are answered or lost; waits a while for one."""

    def take(self, sent: Any) -> list[Answer]:
        """The answers to tasks that were sent.  MachineLostError where there will be none."""

    def cancel(self, sent: Any) -> None:
        """Stop what was sent."""


@dataclass
class _Sent:
    """Tasks on their way: numbers and items."""

    tasks: list[tuple[int, Any]]
    handle: Any


class RemotePool:
    """Tasks that a sender gives away.

    retries: how often a task whose process ended is done again.  report: told in a sentence of every loss.
    """

    def __init__(self, sender: Sender, retries: int, report: Callable[[str], None]) -> None:
        self._sender, self._retries, self._report = sender, retries, report
        self._sent: list[_Sent] = []

    def map(self, method: str, items: Iterable[Any]) -> Iterator[Any]:
        """method(item) for every item, in order, or `Failed`.  InputError as the task raised it."""
        new, again = enumerate(items), deque[tuple[int, Any]]()
        done: dict[int, Any] = {}
        self._tries, self._losses = dict[int, int](), dict[int, int]()
        turn, most = 0, 4 * self._sender.at_once * self._sender.chunk
        while True:
            taken = turn + len(done) + len(again) + sum(len(sent.tasks) for sent in self._sent)
            while len(self._sent) < self._sender.at_once and taken < turn + most:
                tasks = self._next(again, new)
                if not tasks:
                    break
                self._sent.append(_Sent(tasks, self._sender.send(method, [item for _, item in tasks])))
                taken += len(tasks)
            if turn in done:
                yield done.pop(turn)
                turn += 1
            elif self._sent:
                self._collect(done, again)
            else:
                return

    def _next(self, again: deque[tuple[int, Any]], new: Iterator[tuple[int, Any]]) -> list[tuple[int, Any]]:
        """What was lost first, alone; else a chunk of what has not been sent yet."""
        return [again.popleft()] if again else list(itertools.islice(new, self._sender.chunk))

    def _collect(self, done: dict[int, Any], again: deque[tuple[int, Any]]) -> None:
        ready = self._sender.wait([sent.handle for sent in self._sent])
        for sent in [sent for sent in self._sent if sent.handle in ready]:
            self._sent.remove(sent)
            try:
                answers = self._sender.take(sent.handle)
            except MachineLostError as error:
                for number, item in sent.tasks:
                    self._lose(self._losses, LOSSES, number, item, str(error), done, again)
                continue
            for (number, item), (kind, value) in zip(sent.tasks, answers, strict=False):
                if kind == "input_error":
                    raise InputError(value)
                if kind == "ok":
                    done[number] = value
                else:
                    self._lose(self._tries, self._retries, number, item, value, done, again)

    def _lose(
        self,
        counts: dict[int, int],
        most: int,
        number: int,
        item: Any,
        reason: str,
        done: dict[int, Any],
        again: deque[tuple[int, Any]],
    ) -> None:
        counts[number] = counts.get(number, 0) + 1
        if counts[number] > most:
            done[number] = Failed(item, reason)
            return
        self._report(f"{reason} Its work is repeated ({counts[number]} of {most}).")
        again.append((number, item))

    def close(self) -> None:
        """Stop what is under way.  Safe to call twice."""
        for sent in self._sent:
            self._sender.cancel(sent.handle)
        self._sent.clear()
