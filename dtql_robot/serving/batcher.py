"""One policy asked by many: what is waiting at one time is predicted together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np

from dtql_robot.errors import InputError
from dtql_robot.types import Array, Obs, Policy

MOST = 32  # robots in one call: the last of them waits for all


class Request(NamedTuple):
    """One robot's observation, key -> (1, ...), its source of noise, and where the chunk is awaited."""

    obs: dict[str, Array]
    rng: np.random.Generator
    answer: asyncio.Future[Array]


class Batcher:
    """Asks the policy for all robots that wait.

    A robot's actions do not depend on who is beside it (see `types.Policy`), so that this changes nothing but the time.
    Each connection waits for its answer before it asks again, so that no more requests wait than there are connections.
    """

    def __init__(self, policy: Policy, executor: Executor | None) -> None:
        """executor: where the policy is asked, so that others are served meanwhile; None asks it in place, which is
        right for one that answers sooner than threads change."""
        self._policy, self._executor = policy, executor
        self._waiting: list[Request] = []
        self._busy = False
        self.calls = 0
        """How often the policy has been asked."""

    async def chunk(self, obs: dict[str, Array], rng: np.random.Generator) -> Array:
        """The chunk (H, A) for one robot.  obs: key -> (1, ...), checked.  Raises what the policy raises."""
        loop = asyncio.get_running_loop()
        request = Request(obs, rng, loop.create_future())
        self._waiting.append(request)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._begin)  # after all whose message has arrived by now
        return await request.answer

    def _begin(self) -> None:
        """Ask the policy for those who wait; it is `_busy`."""
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        self.calls += 1
        if self._executor is None:
            self._end(batch, self._predicted(batch))
            return
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._executor, self._predicted, batch)
        done.add_done_callback(lambda found: None if found.cancelled() else self._end(batch, found.result()))

    def _end(self, batch: list[Request], found: Sequence[Array | Exception]) -> None:
        for request, chunk in zip(batch, found, strict=True):
            if request.answer.done():
                continue  # its robot has gone
            if isinstance(chunk, Exception):
                request.answer.set_exception(chunk)
            else:
                request.answer.set_result(chunk)
        self._busy = bool(self._waiting)
        if self._busy:
            asyncio.get_running_loop().call_soon(self._begin)

    def _predicted(self, batch: list[Request]) -> Sequence[Array | Exception]:
        """One chunk, or what went wrong, for each."""
        obs = _side_by_side([request.obs for request in batch])
        try:
            return list(self._policy.predict(obs, [request.rng for request in batch]))
        except (InputError, FloatingPointError) as error:
            if len(batch) == 1:
                return [error]
        except Exception as error:
            return [error] * len(batch)
        return [found for request in batch for found in self._predicted([request])]  # one of them is to blame


def _side_by_side(observations: Sequence[Obs]) -> Obs:
    if len(observations) == 1:
        return observations[0]
    return {key: np.concatenate([obs[key] for obs in observations]) for key in observations[0]}
