"""Worker processes that hold a simulator and answer calls.

A worker is a fresh Python interpreter that talks over its standard input and output.  Unlike multiprocessing's "fork"
it is safe beside OpenGL and CUDA, and unlike "spawn" it does not import the caller's main script again, so it starts
without torch and works from notebooks and unguarded scripts alike.

It finds modules as an installed program does; where the caller's path has more folders, they are looked in last.  A
file in the working folder therefore never takes the place of a library.  A worker ends with its caller, however that
ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import struct
import subprocess
import sys
import threading
import time
from typing import Any

from dtql_robot.errors import InputError
from dtql_robot.system.launch import command as launch_command
from dtql_robot.system.launch import safe_environment

THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


LENGTH = struct.Struct("<Q")


class WorkerError(RuntimeError):
    """A worker died or raised something that is not the user's to mend.  One line; its cause has the traceback."""


class WorkerTracebackError(Exception):
    """Where in the worker it was raised, as text: the cause of a `WorkerError`."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class WorkerLostError(WorkerError):
    """A worker ended by itself or stopped answering; what it worked on can be done again by another."""


class Worker:
    """One process that holds `factory(*args)` and calls its methods.

    factory: "package.module:name", imported in the worker.  Arguments and results are pickled.
    `send` queues a call, `recv` waits for the oldest one still unanswered.
    """

    def __init__(self, factory: str, *args: Any) -> None:
        env = {**safe_environment(), **dict.fromkeys(THREAD_LIMITS, "1")}
        # The kernel tells a worker of the end of the thread that started it: of the caller only if that is its first.
        tied = threading.current_thread() is threading.main_thread()
        command = [*launch_command("dtql_robot.system.worker_main"), str(os.getpid()), "tied" if tied else "watching"]
        self._buffer = bytearray()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, bufsize=0)
        self._write([os.path.abspath(p) for p in sys.path])
        self._write((factory, args))

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def fileno(self) -> int:
        """What `select` watches to learn that an answer is coming."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def send(self, method: str, *args: Any) -> None:
        """Ask for a call of a method; `recv` waits for its answer.  WorkerLostError where the process is gone."""
        self._write((method, args))

    def recv(self, deadline: float | None = None) -> Any:
        """The answer; InputError and WorkerError are raised here as they were there.

        deadline: time.monotonic() after which the worker counts as hung (WorkerLostError); None waits for ever.
        """
        while (message := self._take()) is None:
            self._read(deadline)
        kind, value = pickle.loads(message)
        if kind == "input_error":
            raise InputError(value)
        if kind == "error":
            sentence, text = value
            raise WorkerError(f"A simulator process failed ({sentence}).") from WorkerTracebackError(text)
        return value

    @property
    def has_answer(self) -> bool:
        """Whether a whole answer has been read already; `select` knows of unread ones only."""
        return (
            len(self._buffer) >= LENGTH.size and len(self._buffer) >= LENGTH.size + LENGTH.unpack_from(self._buffer)[0]
        )

    def _take(self) -> bytes | None:
        """The oldest whole answer that has been read, if there is one."""
        if not self.has_answer:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self._buffer)[0]
        message = bytes(self._buffer[LENGTH.size : end])
        del self._buffer[:end]
        return message

    def _read(self, deadline: float | None) -> None:
        if deadline is not None and not select.select([self], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise WorkerLostError("A simulator process stopped answering.")
        part = os.read(self.fileno(), 1 << 20)
        if not part:
            raise WorkerLostError(f"A simulator process ended unexpectedly (exit status {self._process.wait()}).")
        self._buffer += part

    def kill(self) -> None:
        """End the worker at once, hung or not."""
        self._process.kill()
        self.close()

    def ask_to_end(self) -> None:
        """Close the pipes.  `close` waits for what that leads to."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def close(self) -> None:
        """Ask the worker to end and wait for it; kill it if it does not.  Safe to call twice."""
        self.ask_to_end()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write(self, message: Any) -> None:
        assert self._process.stdin is not None
        data = memoryview(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))
        try:
            while data:
                data = data[os.write(self._process.stdin.fileno(), data) :]
        except BrokenPipeError:
            pass  # the reason is waiting in the worker's last answer, or in its exit status: recv reports it
