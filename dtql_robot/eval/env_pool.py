"""Several environments that run whole chunks of actions side by side.

One message per chunk, not per step, and each environment is reset on its own: that is why this is not Gymnasium's
AsyncVectorEnv, which steps all its environments together and resets them by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.make import make_env
from dtql_robot.envs.workers import Worker
from dtql_robot.errors import InputError
from dtql_robot.types import Array

if TYPE_CHECKING:
    import gymnasium


@dataclass(frozen=True)
class ChunkResult:
    """What came of executing a chunk: the observation after it and, for each executed step, reward and success."""

    obs: dict[str, Array]
    rewards: list[float]
    successes: list[bool]
    done: bool


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
        return ChunkResult(obs, rewards, successes, terminated or truncated)

    def close(self) -> None:
        self.env.close()


class EnvPool(Protocol):
    """Environments 0..N-1; calls name the environments they concern."""

    def facts(self) -> EnvInfo: ...
    def reset(self, which: Sequence[int], seeds: Sequence[int]) -> list[dict[str, Array]]: ...
    def run_chunks(self, which: Sequence[int], chunks: Sequence[Array]) -> list[ChunkResult]: ...
    def close(self) -> None: ...


class LocalPool:
    """One environment in this process."""

    def __init__(self, server: EnvServer) -> None:
        self._server = server

    def facts(self) -> EnvInfo:
        return self._server.facts()

    def reset(self, which: Sequence[int], seeds: Sequence[int]) -> list[dict[str, Array]]:
        return [self._server.reset(seed) for seed in seeds]

    def run_chunks(self, which: Sequence[int], chunks: Sequence[Array]) -> list[ChunkResult]:
        return [self._server.run_chunk(chunk) for chunk in chunks]

    def close(self) -> None:
        self._server.close()


class ProcessPool:
    """N environments in N processes."""

    def __init__(self, num_envs: int, *args: Any) -> None:
        self._stack = contextlib.ExitStack()
        factory = "dtql_robot.eval.env_pool:EnvServer"
        self._workers = [self._stack.enter_context(contextlib.closing(Worker(factory, *args))) for _ in range(num_envs)]

    def facts(self) -> EnvInfo:
        """The environment's facts; returns once every process is up."""
        return self._call("facts", range(len(self._workers)))[0]

    def reset(self, which: Sequence[int], seeds: Sequence[int]) -> list[dict[str, Array]]:
        return self._call("reset", which, seeds)

    def run_chunks(self, which: Sequence[int], chunks: Sequence[Array]) -> list[ChunkResult]:
        return self._call("run_chunk", which, chunks)

    def _call(self, method: str, which: Sequence[int], *arguments: Sequence[Any]) -> list[Any]:
        for row, index in enumerate(which):
            self._workers[index].send(method, *(column[row] for column in arguments))
        return [self._workers[index].recv() for index in which]

    def close(self) -> None:
        self._stack.close()


def make_pool(num_envs: int, spec: str, max_episode_steps: int | None, env_args: dict[str, Any] | None) -> EnvPool:
    """In this process for one environment, in worker processes for more."""
    args = (spec, max_episode_steps, env_args)
    return LocalPool(EnvServer(*args)) if num_envs == 1 else ProcessPool(num_envs, *args)
