"""One robot's conversation: its episode, its plan, and a reply to every message."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from dtql_robot.client.action_plan import ActionPlan
from dtql_robot.client.wire import pack, unpack
from dtql_robot.errors import InputError
from dtql_robot.serving.batcher import Batcher
from dtql_robot.serving.served import Served
from dtql_robot.types import Array, chunk_weights_of

RESET, CHUNK = "__reset__", "__chunk__"
"""What a request may hold beside observations: begin a new episode (with this seed, or None); reply with the whole
chunk, as the client has a plan of its own."""


class Session:
    """What the server knows of one connection."""

    def __init__(self, served: Served, batcher: Batcher) -> None:
        self._served, self._batcher = served, batcher
        self._begin(None)

    def _begin(self, seed: int | None) -> None:
        policy = self._served.policy
        self._plan = ActionPlan(policy.n_action_steps, chunk_weights_of(policy))
        self._rng = np.random.default_rng(seed)

    async def reply(self, message: str | bytes) -> str | bytes:
        """The answer to one message: bytes, or a text that says what is wrong with the observation."""
        start = time.perf_counter()
        try:
            request = self._read(message)
            obs = self._observation(request)
            chunk = await self._batcher.chunk(obs, self._rng)
        except (InputError, FloatingPointError) as error:
            return str(error)
        actions = chunk if request.get(CHUNK) else self._plan.next(chunk)
        taken = 1e3 * (time.perf_counter() - start)
        return pack({"actions": actions, "server_timing": {"infer_ms": taken}})

    def _read(self, message: str | bytes) -> Mapping[str, Any]:
        if isinstance(message, str):
            raise InputError("the message is text; expected msgpack in a binary message.")
        try:
            request = unpack(message)
        except ValueError as error:
            raise InputError(f"{error}.") from error
        if not isinstance(request, dict):
            raise InputError(f"the message is {type(request).__name__}; expected a map of observations.")
        if RESET in request:
            seed = request[RESET]
            if seed is not None and (type(seed) is not int or seed < 0):
                raise InputError(f"{RESET} must be a seed (a whole number from 0) or nothing.")
            self._begin(seed)
        return request

    def _observation(self, request: Mapping[str, Any]) -> dict[str, Array]:
        """The observations that the policy reads, key -> (1, ...), checked: nobody else's request may fail by this."""
        face = self._served.interface
        obs = {}
        for key in face.obs_keys:
            if key not in request:
                raise InputError(f"observation {key!r} is missing; found {sorted(map(str, request))[:20]}.")
            kind = None if key in face.image_keys else np.float32
            try:
                with np.errstate(over="ignore"):  # what is too large is refused below
                    obs[key] = np.asarray(request[key], kind)[None]
            except (ValueError, TypeError, OverflowError) as error:
                raise InputError(f"observation {key!r} is not an array of numbers ({error}).") from error
        face.check(obs, self._served.frames)
        return obs
