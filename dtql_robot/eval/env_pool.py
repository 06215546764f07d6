"""Several environments that run whole chunks of actions side by side.

One message per chunk, not per step, each environment is reset on its own, and a simulator process that dies or hangs
is replaced: that is why this is not Gymnasium's AsyncVectorEnv.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.make import make_env
from dtql_robot.envs.workers import Worker, WorkerLostError
from dtql_robot.errors import InputError
from dtql_robot.types import Array

if TYPE_CHECKING:
    import gymnasium

Where = Literal["auto", "processes", "in-process"]

CHEAP_CHUNK = 2e-4  # seconds of simulation for which sending a chunk to another process does not pay
PROBE_SECONDS = 0.2
STARTUP_SECONDS = 180.0  # beyond the time-out, for a new process to import and build its simulator


@dataclass(frozen=True)
class ChunkResult:
    """What came of executing a chunk: the observation after it and, for each executed step, reward and success.

    subtasks: part of the task -> done so far in this episode, where the environment tells.
    """

    obs: dict[str, Array]
    rewards: list[float]
    successes: list[bool]
    done: bool
    subtasks: dict[str, bool] = field(default_factory=dict)


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
        env: gymnasium.Env | None = None,
    ) -> None:
        self.env = env or make_env(spec, max_episode_steps=max_episode_steps, env_args=env_args)
        self._spec = spec

    def facts(self) -> EnvInfo:
        return self.env.get_wrapper_attr("facts")

    def reset(self, seed: int) -> dict[str, Array]:
        return self.env.reset(seed=seed)[0]

    def step_seconds(self) -> float:
        """Measured time of one step, of an episode begun for this purpose."""
        self.env.reset(seed=0)
        action = self.env.action_space.sample()
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < PROBE_SECONDS:
            _, _, terminated, truncated, _ = self.env.step(action)
            count += 1
            if terminated or truncated:
                break
        return (time.perf_counter() - start) / count

    def run_chunk(self, actions: Array) -> ChunkResult:
        """Execute actions (K, A) in order, stopping early where the episode ends."""
        rewards, successes = [], []
        for action in actions:
            obs, reward, terminated, truncated, info = self.env.step(action)
            if "success" not in info:
                raise InputError(
                    f"{self._spec} reports no success: expected 'success' or 'is_success' in the info of each step, "
                    f"found {sorted(info) or 'nothing'}; wrap the environment so that it reports one."
                )
            rewards.append(float(reward))
            successes.append(info["success"])
            if terminated or truncated:
                break
        return ChunkResult(obs, rewards, successes, terminated or truncated, info.get("subtasks", {}))

    def close(self) -> None:
        self.env.close()


class EnvPool(Protocol):
    """Environments 0..N-1.  `reset` and `run_chunk` queue one call on an environment, `wait` gives what is answered.

    in_process: whether the environments live in this process, where nothing can be replaced.
    """

    in_process: bool

    def facts(self) -> EnvInfo: ...
    def reset(self, env: int, seed: int) -> None: ...
    def run_chunk(self, env: int, actions: Array) -> None: ...
    def wait(self) -> list[tuple[int, Reply]]: ...
    def close(self) -> None: ...


class LocalPool:
    """N environments in this process.  Calls are answered all together, in the order of the environments."""

    in_process = True

    def __init__(self, servers: Sequence[EnvServer]) -> None:
        self.servers = list(servers)
        self._queued: dict[int, tuple[str, Any]] = {}

    def facts(self) -> EnvInfo:
        return self.servers[0].facts()

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


class ProcessPool:
    """N environments in N processes.

    timeout: seconds in which a call must be answered; a process that does not, or that ends, is replaced.
    """

    in_process = False

    def __init__(self, num_envs: int, *args: Any, timeout: float = 120.0) -> None:
        self._args, self._timeout = args, timeout
        self._deadlines: dict[int, float] = {}
        self._fresh = set(range(num_envs))
        self.workers = [self._start() for _ in range(num_envs)]

    def _start(self) -> Worker:
        return Worker("dtql_robot.eval.env_pool:EnvServer", *self._args)

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

    def reset(self, env: int, seed: int) -> None:
        self._send(env, "reset", seed)

    def run_chunk(self, env: int, actions: Array) -> None:
        self._send(env, "run_chunk", actions)

    def _send(self, env: int, method: str, value: Any) -> None:
        self.workers[env].send(method, value)
        self._deadlines[env] = time.monotonic() + self._timeout + (STARTUP_SECONDS if env in self._fresh else 0.0)
        self._fresh.discard(env)

    def wait(self) -> list[tuple[int, Reply]]:
        """The answers that have come; waits until there is one."""
        pending = {self.workers[env]: env for env in self._deadlines}
        until = min(self._deadlines.values()) - time.monotonic()
        ready = set(select.select(list(pending), [], [], max(0.0, until))[0])
        late = time.monotonic()
        ready |= {worker for worker, env in pending.items() if self._deadlines[env] <= late}
        return sorted(((pending[w], self._collect(pending[w])) for w in ready), key=lambda reply: reply[0])

    def _collect(self, env: int) -> Reply:
        deadline = self._deadlines.pop(env)
        try:
            return self.workers[env].recv(deadline)
        except WorkerLostError as error:
            self.workers[env].kill()
            self.workers[env] = self._start()
            self._fresh.add(env)
            return Lost(str(error))

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def make_pool(
    num_envs: int,
    spec: str,
    max_episode_steps: int | None,
    env_args: dict[str, Any] | None,
    *,
    where: Where = "auto",
    chunk: int = 1,
    timeout: float = 120.0,
) -> EnvPool:
    """Environments where they run fastest.

    "auto": one alone in this process; several in processes of their own, except where simulating a `chunk` of steps
    is measured to take less time than sending it there.
    """
    args = (spec, max_episode_steps, env_args)

    def local() -> EnvPool:
        return LocalPool([EnvServer(*args) for _ in range(num_envs)])

    if where == "in-process" or (where == "auto" and num_envs == 1):
        return local()
    pool = ProcessPool(num_envs, *args, timeout=timeout)
    with contextlib.ExitStack() as stack:
        stack.callback(pool.close)
        if where == "auto" and pool.step_seconds() * chunk < CHEAP_CHUNK:
            return local()
        stack.pop_all()
    return pool
