"""Environments in worker processes.

One message for the chunks of several environments, not for each step, each environment is reset on its own, and a
simulator process that dies or hangs is replaced: that is why this is not Gymnasium's AsyncVectorEnv.
"""

from __future__ import annotations

import gc
import select
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from dtql_robot.envs.info import EnvInfo
from dtql_robot.errors import InputError
from dtql_robot.eval.pools.actor import Actor, advance
from dtql_robot.eval.pools.chunked_env import UNKNOWN_SECONDS, ChunkResult, EnvServer, Lost, Reply
from dtql_robot.system.workers import Worker, WorkerError, WorkerLostError
from dtql_robot.types import Array, Policy

STARTUP_SECONDS = 180.0  # beyond the time-out, for a new process to import and build its simulator
MAX_STARTS = 3  # of one process that dies before it has answered anything

Packed = dict[str, tuple[str, tuple[int, ...], bytes]]


def pack(obs: dict[str, Array]) -> Packed:
    """Arrays as plain bytes: after a simulator's step, with cold caches, pickling arrays takes three times as long."""
    return {key: (value.dtype.str, value.shape, value.tobytes()) for key, value in obs.items()}


def unpack(packed: Packed) -> dict[str, Array]:
    """Inverse of `pack`; the arrays are read-only."""
    return {key: np.frombuffer(data, dtype).reshape(shape) for key, (dtype, shape, data) in packed.items()}


Call = tuple[int, str, Any]


class EnvGroup:
    """Several environments in a worker process; each is made when it is first used.

    What it takes and answers is packed: chunks of actions as (K, float32 bytes), chunk results as tuples.
    """

    def __init__(self, policy: Policy | None, *args: Any) -> None:
        """policy: what `advance` acts with.  args: of each `EnvServer`."""
        self._policy, self._args = policy, args
        self._servers: dict[int, EnvServer] = {0: EnvServer(*args)}
        self._actors: dict[int, Actor] = {}

    def facts(self) -> EnvInfo:
        """The environments' horizon, success rule, cameras and shapes."""
        return self._servers[0].facts()

    def step_seconds(self) -> float:
        """Seconds that a step of the simulator takes, measured."""
        return self._servers[0].step_seconds()

    def answer(self, calls: Sequence[Call]) -> list[Packed | tuple | Lost]:
        """The answers to (environment, "reset", "run_chunk" or "advance", its argument), in order."""
        together = [slot for slot, method, _ in calls if method == "advance"]
        advanced = dict(zip(together, self._advance(together), strict=True))
        return [
            advanced[slot] if method == "advance" else getattr(self, method)(slot, value)
            for slot, method, value in calls
        ]

    def reset(self, slot: int, seed: int) -> Packed | Lost:
        """Begin an episode in a slot.  Returns its first observation, packed."""
        if slot not in self._servers:
            self._servers[slot] = EnvServer(*self._args)
            gc.freeze()  # the simulators' many objects stay; searching them for garbage costs a percent of a cheap one
        if self._policy is None:
            obs = self._servers[slot].reset(seed)
        else:
            self._actors[slot] = Actor(self._servers[slot], self._policy)
            obs = self._actors[slot].reset(seed)
        return obs if isinstance(obs, Lost) else pack(obs)

    def run_chunk(self, slot: int, chunk: tuple[int, bytes]) -> tuple | Lost:
        """Execute a packed chunk in a slot.  Returns the packed outcome."""
        count, data = chunk
        return _packed(self._servers[slot].run_chunk(np.frombuffer(data, np.float32).reshape(count, -1)))

    def _advance(self, slots: Sequence[int]) -> list[tuple | Lost]:
        if self._policy is None or not slots:
            return []
        return [_packed(found) for found in advance(self._policy, [self._actors[slot] for slot in slots])]


def _packed(found: ChunkResult | Lost) -> tuple | Lost:
    if isinstance(found, Lost):
        return found
    return pack(found.obs), found.rewards, found.successes, found.done, found.subtasks, found.stages


class ProcessPool:
    """N environments in P processes: environment e is the (e // P)-th of process e % P.

    The calls on a process travel together, for a message costs more than the few steps it asks for.  With more
    environments than processes there are two messages under way to each, so that it goes on with one half of its
    environments while the policy decides for the other; where a copy of the policy acts in the process, one is enough.
    timeout: seconds in which a message must be answered; a process that does not, or that ends, is replaced, and all
    of its environments are lost.
    policy: a copy of it acts in each process (`advance`).  args: of each `EnvServer`.
    """

    in_process = False

    def __init__(
        self,
        num_envs: int,
        *args: Any,
        processes: int | None = None,
        timeout: float = 120.0,
        policy: Policy | None = None,
    ) -> None:
        self._spec, self._args, self._timeout, self.num_envs = args[0], (policy, *args), timeout, num_envs
        self.acts = policy is not None
        count = min(num_envs, processes or num_envs)
        self.workers = [self._start() for _ in range(count)]
        self._unsent: list[list[Call]] = [[] for _ in range(count)]
        self._asked: list[deque[list[int]]] = [deque() for _ in range(count)]  # the slots in each message under way
        self._deadlines = [0.0] * count
        self._fresh = set(range(count))
        self._gone: dict[int, Lost] = {}
        self._untold: list[tuple[int, Reply]] = []

    def _start(self) -> Worker:
        return Worker("dtql_robot.eval.pools.process_pool:EnvGroup", *self._args)

    def facts(self) -> EnvInfo:
        """The environment's facts; returns once every process is up.

        A process that dies or hangs while it starts is replaced; InputError where that does not help.
        """
        answers = self._ask_all("facts")
        for process in range(len(self.workers)):
            starts = 1
            while isinstance(lost := answers[process], Lost):
                if starts == MAX_STARTS:
                    raise InputError(f"{self._spec} failed to start {starts} times in a row: {lost.reason}")
                starts += 1
                answers[process] = self._ask(process, "facts")
        return answers[0]

    def step_seconds(self) -> float:
        """Measured time of one step while every process is stepping."""
        return max(UNKNOWN_SECONDS if isinstance(found, Lost) else found for found in self._ask_all("step_seconds"))

    def _ask_all(self, method: str) -> list[Any]:
        """Every process's answer; `Lost` for one that died or hung, and was replaced."""
        for worker in self.workers:
            worker.send(method)
        deadline = time.monotonic() + self._timeout + STARTUP_SECONDS
        return [self._answer(process, deadline) for process in range(len(self.workers))]

    def _ask(self, process: int, method: str) -> Any:
        self.workers[process].send(method)
        return self._answer(process, time.monotonic() + self._timeout + STARTUP_SECONDS)

    def _answer(self, process: int, deadline: float) -> Any:
        try:
            found = self.workers[process].recv(deadline)
        except WorkerLostError as error:
            lost = Lost(str(error))
            self._replace(process, lost)
            return lost
        self._fresh.discard(process)
        return found

    def process(self, env: int) -> int:
        """The number of the process that holds an environment."""
        return env % len(self.workers)

    def reset(self, env: int, seed: int) -> None:
        """Ask an environment to begin the episode of a seed."""
        self._gone.pop(env, None)
        self._call(env, "reset", seed)

    def run_chunk(self, env: int, actions: Array) -> None:
        """Ask an environment to execute a chunk of actions, (H, A)."""
        self._go_on(env, "run_chunk", (len(actions), np.asarray(actions, np.float32).tobytes()))

    def advance(self, env: int) -> None:
        """Ask an environment whose process holds a policy to go on by itself."""
        self._go_on(env, "advance", None)

    def _go_on(self, env: int, method: str, value: Any) -> None:
        if env in self._gone:  # its process was lost while the policy decided
            self._untold.append((env, self._gone.pop(env)))
        else:
            self._call(env, method, value)

    def _call(self, env: int, method: str, value: Any) -> None:
        slot, process = divmod(env, len(self.workers))
        self._unsent[process].append((slot, method, value))

    def wait(self) -> list[tuple[int, Reply]]:
        """The answers to the messages that have been answered, at least to one."""
        for process, calls in enumerate(self._unsent):
            parted = not (self.acts or self._asked[process])
            half = (len(calls) + 1) // 2 if parted else len(calls)
            self._send(process, calls[:half])
            self._send(process, calls[half:])
            calls.clear()
        replies, self._untold = self._untold, []
        if not replies and any(self._asked):
            replies = self._receive()
        return sorted(replies, key=lambda reply: reply[0])

    def _send(self, process: int, calls: list[Call]) -> None:
        if not calls:
            return
        self.workers[process].send("answer", calls)
        if not self._asked[process]:
            startup = STARTUP_SECONDS if process in self._fresh else 0.0
            self._deadlines[process] = time.monotonic() + self._timeout + startup
        self._fresh.discard(process)
        self._asked[process].append([slot for slot, _, _ in calls])

    def _receive(self) -> list[tuple[int, Reply]]:
        """An answer of every process that has one; waits until one has."""
        busy = [process for process, asked in enumerate(self._asked) if asked]
        until = min(self._deadlines[process] for process in busy) - time.monotonic()
        waiting = not any(self.workers[process].has_answer for process in busy)
        ready = select.select([self.workers[p] for p in busy], [], [], max(0.0, until) if waiting else 0.0)[0]
        now = time.monotonic()
        replies: list[tuple[int, Reply]] = []
        for process in busy:
            worker = self.workers[process]
            if worker.has_answer or worker in ready or self._deadlines[process] <= now:
                replies += self._collect(process)
        return replies

    def _collect(self, process: int) -> list[tuple[int, Reply]]:
        try:
            values = self.workers[process].recv(self._deadlines[process])
        except WorkerError as error:
            return self._replace(process, Lost(str(error)))
        self._deadlines[process] = time.monotonic() + self._timeout  # of the next message
        slots = self._asked[process].popleft()
        return [(self._env(process, slot), _reply(value)) for slot, value in zip(slots, values, strict=True)]

    def _env(self, process: int, slot: int) -> int:
        return slot * len(self.workers) + process

    def _replace(self, process: int, lost: Lost) -> list[tuple[int, Reply]]:
        """A new process for a lost one.  All its environments are lost; those that nobody waits for are told later."""
        waiting = [self._env(process, slot) for slots in self._asked[process] for slot in slots]
        self._asked[process].clear()
        self._gone.update(dict.fromkeys(range(process, self.num_envs, len(self.workers)), lost))
        for env in waiting:
            self._gone.pop(env, None)
        self.workers[process].kill()
        self.workers[process] = self._start()
        self._fresh.add(process)
        return [(env, lost) for env in waiting]

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers:
            worker.ask_to_end()
        for worker in self.workers:
            worker.close()


def _reply(value: Packed | tuple | Lost) -> Reply:
    if isinstance(value, Lost):
        return value
    return unpack(value) if isinstance(value, dict) else ChunkResult(unpack(value[0]), *value[1:])
