"""A policy that acts elsewhere: the client of `dtql-robot serve`, and of any server that speaks openpi's protocol."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, cast

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from .action_plan import ActionPlan, Array
from .frame_stack import FrameStack
from .wire import pack, unpack

LOST = (OSError, EOFError, WebSocketException)
PAUSE = 0.1  # seconds between two attempts to connect
TOO_BIG = 1009


class PolicyError(RuntimeError):
    """The server refused an observation, or failed.  The message is the server's own."""


class Client:
    """One robot's connection to a policy server.

    It waits for the server, and connects anew where the connection is lost: a server that was restarted costs a pause.
    Usage: `client = Client(port=8000)`, `client.reset()` before each episode, `action = client.act(obs)` at each step.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        token: str | None = None,
        timeout: float = 10.0,
        wait: float = 30.0,
    ) -> None:
        """token: the server's; by default that of the environment variable DTQL_ROBOT_TOKEN.  timeout: seconds until an
        answer is given up.  wait: seconds for a server that cannot be reached.

        PermissionError where the token is wrong, ConnectionError where no server answers.
        """
        self._uri = host if "://" in host else f"ws://{f'[{host}]' if ':' in host else host}:{port}"
        token = token or os.environ.get("DTQL_ROBOT_TOKEN")
        self._headers = {"Authorization": f"Api-Key {token}"} if token else None
        self._timeout, self._wait = timeout, wait
        self._socket: ClientConnection | None = None
        self.reconnections = -1
        """How often the connection was lost and made again."""
        self.metadata: dict[str, Any] = {}
        """What the server says of its policy: version, task, observations, horizon, n_action_steps, ..."""
        self._connect()
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Begin a new episode.  seed: of the policy's noise, where it draws any."""
        told = self.metadata
        self._seed, self._begins, self._queue = seed, True, list[Array]()
        self._plan = ActionPlan(told.get("n_action_steps", 1), told.get("chunk_weights"))
        images = tuple(k for k, v in told.get("observations", {}).items() if v["image"])
        self.frames = FrameStack(images, told.get("frames", 1))

    def act(self, obs: Mapping[str, Any]) -> Array:
        """The next action (A,).  obs: key -> array without batch dimension, one image a call.  The server is asked
        where the last chunk is used up; the plan is this client's own, and survives a server that is restarted."""
        obs = self.frames(obs)
        if not self._queue:
            self._queue = list(self._plan.next(self.chunk(obs)))
        return self._queue.pop(0)

    def chunk(self, obs: Mapping[str, Any]) -> Array:
        """The whole chunk (H, A) that the policy predicts.  obs: as `FrameStack` returns it."""
        return self.infer({**obs, "__chunk__": True})["actions"]

    def infer(self, obs: Mapping[str, Any]) -> dict[str, Any]:
        """One request as openpi's clients make it.  Returns {"actions": (n_action_steps, A) to execute, ...}, of which
        the plan is the server's.  PolicyError where the server refuses; TimeoutError where it does not answer."""
        reply = self._exchange(obs)
        if isinstance(reply, str):
            raise PolicyError(reply)
        self._begins = False
        return unpack(reply)

    def close(self) -> None:
        """End the connection; the next request would make a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, obs: Mapping[str, Any]) -> str | bytes:
        """The answer to a request, which is repeated where the connection is lost: the new server begins anew too."""
        deadline, begins = time.monotonic() + self._wait, self._begins
        while True:
            request = pack({**obs, "__reset__": self._seed} if begins else obs)
            try:
                socket = self._socket or self._connect()
                socket.send(request)
                return socket.recv(timeout=self._timeout)
            except TimeoutError:
                self.close()  # its answer would be taken for that of the next request
                raise
            except LOST as error:
                self._socket, begins = None, True
                if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code == TOO_BIG:
                    raise PolicyError(f"the observation of {len(request)} bytes is too large for the server") from error
                if time.monotonic() > deadline:
                    raise

    def _connect(self) -> ClientConnection:
        deadline = time.monotonic() + self._wait
        while True:
            try:
                socket = connect(
                    self._uri, compression=None, max_size=None, additional_headers=self._headers, close_timeout=0.5
                )
                told = unpack(cast(bytes, socket.recv(timeout=self._timeout)))
                break
            except (InvalidHandshake, *LOST) as error:
                if isinstance(error, InvalidStatus) and error.response.status_code in (401, 403):
                    raise PermissionError(
                        f"{self._uri} refuses this token, or requires one; see `serve --token`"
                    ) from error
                if time.monotonic() > deadline:
                    raise ConnectionError(f"no policy server answers at {self._uri} ({error})") from error
                time.sleep(PAUSE)
        same = ("observations", "action_dim", "horizon", "n_action_steps", "chunk_weights", "frames")
        if self.metadata and any(told.get(name) != self.metadata.get(name) for name in same):
            socket.close()
            raise PolicyError(f"the server at {self._uri} was restarted with a policy of other observations or plan")
        self.metadata, self._socket, self.reconnections = told, socket, self.reconnections + 1
        return socket
