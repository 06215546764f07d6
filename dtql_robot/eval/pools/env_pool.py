"""Several environments that run whole chunks of actions side by side, where they run fastest."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from dtql_robot.envs.info import EnvInfo
from dtql_robot.eval.pools.chunked_env import EnvServer, Reply
from dtql_robot.eval.pools.process_pool import ProcessPool
from dtql_robot.system.cores import usable_cores
from dtql_robot.types import Array, ImageObs, Policy

Where = Literal["auto", "processes", "in-process"]

CHEAP_CHUNK = 2e-4  # seconds of simulation for which sending a chunk to another process does not pay
MESSAGE_SECONDS, MOST_IN_A_MESSAGE = 1e-2, 10  # of simulation, and environments, that a message asks for
MOST_SIDE_BY_SIDE = 25  # environments of one process for which a policy there decides together
MAX_ENVS = 64


class EnvPool(Protocol):
    """Environments 0..N-1.  `reset`, `run_chunk` and `advance` queue one call on an environment, `wait` gives what is
    answered.

    in_process: whether the environments live in this process, which ends with what ends one of them.
    acts: whether the pool has the policy, so that `advance` takes the place of `run_chunk`.
    `process`: the number of the process that an environment lives in.
    """

    in_process: bool
    acts: bool
    num_envs: int

    def facts(self) -> EnvInfo:
        """The environments' horizon, success rule, cameras and shapes."""

    def process(self, env: int) -> int:
        """The number of the process that holds an environment."""

    def reset(self, env: int, seed: int) -> None:
        """Ask an environment to begin the episode of a seed."""

    def run_chunk(self, env: int, actions: Array) -> None:
        """Ask an environment to execute a chunk of actions, (H, A)."""

    def advance(self, env: int) -> None:
        """Ask an environment whose process holds a policy to go on by itself."""

    def wait(self) -> list[tuple[int, Reply]]:
        """The answers that have arrived, at least one: (environment, reply)."""

    def close(self) -> None:
        """End the environments and their processes."""


class LocalPool:
    """N environments in this process.  Calls are answered all together, in the order of the environments."""

    in_process = True
    acts = False

    def __init__(self, servers: Sequence[EnvServer]) -> None:
        self.servers, self.num_envs = list(servers), len(servers)
        self._queued: dict[int, tuple[str, Any]] = {}

    def facts(self) -> EnvInfo:
        """The environments' horizon, success rule, cameras and shapes."""
        return self.servers[0].facts()

    def process(self, env: int) -> int:
        """The number of the process that holds an environment."""
        return 0

    def reset(self, env: int, seed: int) -> None:
        """Ask an environment to begin the episode of a seed."""
        self._queued[env] = ("reset", seed)

    def run_chunk(self, env: int, actions: Array) -> None:
        """Ask an environment to execute a chunk of actions, (H, A)."""
        self._queued[env] = ("run_chunk", actions)

    def advance(self, env: int) -> None:
        """Ask an environment whose process holds a policy to go on by itself."""
        raise NotImplementedError("in this process the caller has the policy")

    def wait(self) -> list[tuple[int, Reply]]:
        """The answers that have arrived, at least one: (environment, reply)."""
        queued, self._queued = self._queued, {}
        return [(env, getattr(self.servers[env], method)(value)) for env, (method, value) in sorted(queued.items())]

    def close(self) -> None:
        """End the environments and their processes."""
        for server in self.servers:
            server.close()


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
    policy: Policy | None = None,
) -> EnvPool:
    """Environments where they run fastest, at most one for each of `episodes`.

    "auto": one alone in this process; several in worker processes, one a core, except where simulating a `chunk` of
    steps is measured to take less time than sending it there.
    policy: a copy acts in each worker process, and nothing is sent for its decisions.
    num_envs: None is as many as that measurement makes worth while, see `suitable_envs`.
    """
    args = (spec, max_episode_steps, env_args, images)
    most = min(episodes, num_envs or MAX_ENVS)

    def local(count: int) -> EnvPool:
        return LocalPool([EnvServer(*args) for _ in range(count)])

    if where == "in-process" or (where == "auto" and most == 1):
        return local(most if num_envs else 1)
    pool = ProcessPool(most, *args, processes=usable_cores(), timeout=timeout, policy=policy)
    with contextlib.ExitStack() as stack:
        stack.callback(pool.close)
        if where == "auto" or num_envs is None:
            seconds = pool.step_seconds() * chunk
            if where == "auto" and policy is None and seconds < CHEAP_CHUNK:
                return local(most if num_envs else min(most, MOST_IN_A_MESSAGE))
            if num_envs is None:
                pool.num_envs = suitable_envs(episodes, seconds, len(pool.workers), policy is not None)
        stack.pop_all()
    return pool


def suitable_envs(episodes: int, chunk_seconds: float, processes: int, acts: bool) -> int:
    """How many environments suit a simulator that takes chunk_seconds for a chunk of steps.

    So many that their simulation outweighs the cost of a decision, where the policy `acts` in the processes, or else of
    each of the two messages under way to a process.  More would only take memory.
    """
    wanted = math.ceil(MESSAGE_SECONDS / max(chunk_seconds, 1e-9))
    each = min(MOST_SIDE_BY_SIDE, wanted) if acts else 2 * min(MOST_IN_A_MESSAGE, wanted)
    return min(episodes, MAX_ENVS, processes * in_full_rounds(math.ceil(episodes / processes), each))


def in_full_rounds(episodes: int, most: int) -> int:
    """At most `most` environments, so many that the last round of `episodes` of one length is nearly a full one."""
    rounds = math.ceil(episodes / most)
    return math.ceil(episodes / rounds)
