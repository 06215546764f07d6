"""Several environments that run whole chunks of actions side by side.

One message for the chunks of several environments, not for each step, each environment is reset on its own, and a
simulator process that dies or hangs is replaced: that is why this is not Gymnasium's AsyncVectorEnv.
"""

from __future__ import annotations

import contextlib
import math
import select
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

import numpy as np

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.make import make_env
from dtql_robot.envs.workers import Worker, WorkerLostError, cpu_count
from dtql_robot.errors import InputError
from dtql_robot.types import Array, ImageObs

if TYPE_CHECKING:
    import gymnasium

Where = Literal["auto", "processes", "in-process"]

CHEAP_CHUNK = 2e-4  # seconds of simulation for which sending a chunk to another process does not pay
PROBE_SECONDS = 0.2
MESSAGE_SECONDS, MOST_IN_A_MESSAGE = 1e-2, 10  # of simulation, and environments, that a message asks for
MAX_ENVS = 64
STARTUP_SECONDS = 180.0  # beyond the time-out, for a new process to import and build its simulator


class ChunkResult(NamedTuple):
    """What came of executing a chunk: the observation after it and, for each executed step, reward and success.

    subtasks: part of the task -> done so far in this episode, where the environment tells.
    """

    obs: dict[str, Array]
    rewards: list[float]
    successes: list[bool]
    done: bool
    subtasks: dict[str, bool]


@dataclass(frozen=True)
class Lost:
    """The environment's process died or hung, and was replaced: what it was doing is to be done again."""

    reason: str


Reply = dict[str, Array] | ChunkResult | Lost


class EnvServer:
    """One environment, driven by chunks.  `env` is the environment to drive where it is made already."""

    def __init__(
        self,
        spec: str,
        max_episode_steps: int | None = None,
        env_args: dict[str, Any] | None = None,
        images: ImageObs | None = None,
        env: gymnasium.Env | None = None,
    ) -> None:
        self.env = env or make_env(spec, max_episode_steps=max_episode_steps, env_args=env_args, images=images)
        from dtql_robot.envs.image_obs import image_env
        from dtql_robot.envs.wrapper import UniformEnv

        self._spec, self._image_env = spec, image_env(self.env)
        self._steps = self.env.steps if isinstance(self.env, UniformEnv) else self._steps_through_wrappers

    def facts(self) -> EnvInfo:
        return self.env.get_wrapper_attr("facts")

    def reset(self, seed: int) -> dict[str, Array]:
        return self.env.reset(seed=seed)[0]

    def step_seconds(self) -> float:
        """Measured processor time of one step, of an episode begun for this purpose.

        Processor time, because the machine's other work must not make a cheap simulator look dear.
        """
        self.env.reset(seed=0)
        action = self.env.action_space.sample()
        count, start, end = 0, time.process_time(), time.perf_counter() + PROBE_SECONDS
        while count == 0 or time.perf_counter() < end:
            _, _, terminated, truncated, _ = self.env.step(action)
            count += 1
            if terminated or truncated:
                break
        return (time.process_time() - start) / count

    def run_chunk(self, actions: Array) -> ChunkResult:
        """Execute actions (K, A) in order, stopping early where the episode ends."""
        obs, rewards, successes, ended, info = self._steps(actions)
        if None in successes:
            raise InputError(
                f"{self._spec} reports no success: expected 'success' or 'is_success' in the info of each step, "
                f"found {sorted(info) or 'nothing'}; wrap the environment so that it reports one."
            )
        return ChunkResult(obs, rewards, cast(list[bool], successes), ended, info.get("subtasks", {}))

    def _steps_through_wrappers(self, actions: Array) -> tuple[dict, list[float], list[bool | None], bool, dict]:
        """`UniformEnv.steps` where that is wrapped: every step goes through all wrappers."""
        rewards, successes = [], []
        ended = False
        for left, action in zip(range(len(actions) - 1, -1, -1), actions, strict=True):
            if self._image_env is not None:  # only the frames that the next decision sees are drawn
                self._image_env.drawing = left < self._image_env.images.frames
            obs, reward, terminated, truncated, info = self.env.step(action)
            rewards.append(float(reward))
            successes.append(info.get("success"))
            if terminated or truncated:
                ended = True
                break
        return obs, rewards, successes, ended, info

    def close(self) -> None:
        self.env.close()


class EnvPool(Protocol):
    """Environments 0..N-1.  `reset` and `run_chunk` queue one call on an environment, `wait` gives what is answered.

    in_process: whether the environments live in this process, where nothing can be replaced.
    `process`: the number of the process that an environment lives in.
    """

    in_process: bool
    num_envs: int

    def facts(self) -> EnvInfo: ...
    def process(self, env: int) -> int: ...
    def reset(self, env: int, seed: int) -> None: ...
    def run_chunk(self, env: int, actions: Array) -> None: ...
    def wait(self) -> list[tuple[int, Reply]]: ...
    def close(self) -> None: ...


class LocalPool:
    """N environments in this process.  Calls are answered all together, in the order of the environments."""

    in_process = True

    def __init__(self, servers: Sequence[EnvServer]) -> None:
        self.servers, self.num_envs = list(servers), len(servers)
        self._queued: dict[int, tuple[str, Any]] = {}

    def facts(self) -> EnvInfo:
        return self.servers[0].facts()

    def process(self, env: int) -> int:
        return 0

    def reset(self, env: int, seed: int) -> None:
        self._queued[env] = ("reset", seed)

    def run_chunk(self, env: int, actions: Array) -> None:
        self._queued[env] = ("run_chunk", actions)

    def wait(self) -> list[tuple[int, Reply]]:
        queued, self._queued = self._queued, {}
        return [(env, getattr(self.servers[env], method)(value)) for env, (method, value) in sorted(queued.items())]

    def close(self) -> None:
        for server in self.servers:
            server.close()


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

    def __init__(self, *args: Any) -> None:
        self._args = args
        self._servers: dict[int, EnvServer] = {0: EnvServer(*args)}

    def facts(self) -> EnvInfo:
        return self._servers[0].facts()

    def step_seconds(self) -> float:
        return self._servers[0].step_seconds()

    def answer(self, calls: Sequence[Call]) -> list[Packed | tuple]:
        """The answers to (environment, "reset" or "run_chunk", its argument), in order."""
        return [getattr(self, method)(slot, value) for slot, method, value in calls]

    def reset(self, slot: int, seed: int) -> Packed:
        if slot not in self._servers:
            self._servers[slot] = EnvServer(*self._args)
        return pack(self._servers[slot].reset(seed))

    def run_chunk(self, slot: int, chunk: tuple[int, bytes]) -> tuple:
        count, data = chunk
        found = self._servers[slot].run_chunk(np.frombuffer(data, np.float32).reshape(count, -1))
        return pack(found.obs), found.rewards, found.successes, found.done, found.subtasks


class ProcessPool:
    """N environments in P processes: environment e is the (e // P)-th of process e % P.

    The calls on a process travel together, for a message costs more than the few steps it asks for.  With more
    environments than processes there are two messages under way to each, so that it goes on with one half of its
    environments while the policy decides for the other.
    timeout: seconds in which a message must be answered; a process that does not, or that ends, is replaced, and all
    of its environments are lost.
    """

    in_process = False

    def __init__(self, num_envs: int, *args: Any, processes: int | None = None, timeout: float = 120.0) -> None:
        self._args, self._timeout, self.num_envs = args, timeout, num_envs
        count = min(num_envs, processes or num_envs)
        self.workers = [self._start() for _ in range(count)]
        self._unsent: list[list[Call]] = [[] for _ in range(count)]
        self._asked: list[deque[list[int]]] = [deque() for _ in range(count)]  # the slots in each message under way
        self._deadlines = [0.0] * count
        self._fresh = set(range(count))
        self._gone: dict[int, Lost] = {}
        self._untold: list[tuple[int, Reply]] = []

    def _start(self) -> Worker:
        return Worker("dtql_robot.eval.env_pool:EnvGroup", *self._args)

    def facts(self) -> EnvInfo:
        """The environment's facts; returns once every process is up."""
        return self._ask_all("facts")[0]

    def step_seconds(self) -> float:
        """Measured time of one step while every process is stepping."""
        return max(self._ask_all("step_seconds"))

    def _ask_all(self, method: str) -> list[Any]:
        for worker in self.workers:
            worker.send(method)
        deadline = time.monotonic() + self._timeout + STARTUP_SECONDS
        self._fresh.clear()
        return [worker.recv(deadline) for worker in self.workers]

    def process(self, env: int) -> int:
        return env % len(self.workers)

    def reset(self, env: int, seed: int) -> None:
        self._gone.pop(env, None)
        self._call(env, "reset", seed)

    def run_chunk(self, env: int, actions: Array) -> None:
        if env in self._gone:  # its process was lost while the policy decided
            self._untold.append((env, self._gone.pop(env)))
        else:
            self._call(env, "run_chunk", (len(actions), np.asarray(actions, np.float32).tobytes()))

    def _call(self, env: int, method: str, value: Any) -> None:
        slot, process = divmod(env, len(self.workers))
        self._unsent[process].append((slot, method, value))

    def wait(self) -> list[tuple[int, Reply]]:
        """The answers to the messages that have been answered, at least to one."""
        for process, calls in enumerate(self._unsent):
            idle = not self._asked[process]
            half = (len(calls) + 1) // 2 if idle else len(calls)
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
        except WorkerLostError as error:
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
            del self._gone[env]
        self.workers[process].kill()
        self.workers[process] = self._start()
        self._fresh.add(process)
        return [(env, lost) for env in waiting]

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def _reply(value: Packed | tuple) -> Reply:
    return unpack(value) if isinstance(value, dict) else ChunkResult(unpack(value[0]), *value[1:])


def make_pool(
    num_envs: int | None,
    spec: str,
    max_episode_steps: int | None,
    env_args: dict[str, Any] | None,
    images: ImageObs | None = None,
    *,
    episodes: int,
    where: Where = "auto",
    chunk: int = 1,
    timeout: float = 120.0,
) -> EnvPool:
    """Environments where they run fastest, at most one for each of `episodes`.

    "auto": one alone in this process; several in worker processes, one a core, except where simulating a `chunk` of
    steps is measured to take less time than sending it there.
    num_envs: None is as many as that measurement makes worth while, see `envs_per_process`.
    """
    args = (spec, max_episode_steps, env_args, images)
    most = min(episodes, num_envs or MAX_ENVS)

    def local() -> EnvPool:
        return LocalPool([EnvServer(*args) for _ in range(most if num_envs else 1)])

    if where == "in-process" or (where == "auto" and most == 1):
        return local()
    pool = ProcessPool(most, *args, processes=cpu_count(), timeout=timeout)
    with contextlib.ExitStack() as stack:
        stack.callback(pool.close)
        if where == "auto" or num_envs is None:
            seconds = pool.step_seconds() * chunk
            if where == "auto" and seconds < CHEAP_CHUNK:
                return local()
            if num_envs is None:
                pool.num_envs = in_full_rounds(episodes, min(most, envs_per_process(seconds) * len(pool.workers)))
        stack.pop_all()
    return pool


def envs_per_process(chunk_seconds: float) -> int:
    """So many that the work asked for by a message outweighs its cost, and never fewer than two: one simulates while
    the policy decides for the other.  More would only take memory."""
    return 2 * min(MOST_IN_A_MESSAGE, math.ceil(MESSAGE_SECONDS / max(chunk_seconds, 1e-9)))


def in_full_rounds(episodes: int, most: int) -> int:
    """At most `most` environments, so many that the last round of `episodes` of one length is nearly a full one."""
    rounds = math.ceil(episodes / most)
    return math.ceil(episodes / rounds)
