"""The websocket server: openpi's protocol, so that its clients find what they expect.

After the handshake the server sends what it serves; then every binary message with observations is answered by one with
actions, or by a text that says what is wrong.  `GET /healthz` answers 200.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from dtql_robot.client.wire import pack
from dtql_robot.errors import InputError, describe
from dtql_robot.serving.access import presents
from dtql_robot.serving.batcher import Batcher
from dtql_robot.serving.served import Served
from dtql_robot.serving.session import Session

HEALTH = "/healthz"
SLOW = 10.0  # seconds that a client may take for its handshake, or to take its answer
INTERNAL_ERROR = 1011

_log = logging.getLogger("dtql_robot.serving")


class PolicyServer:
    """One policy and the robots that ask it."""

    def __init__(self, served: Served, *, token: str | None = None, max_clients: int = 64) -> None:
        """token: what clients must present; None lets everyone in.  max_clients: connections at one time."""
        self._served, self._token, self._max_clients = served, token, max_clients
        self._told = pack(served.metadata())
        self._open: set[ServerConnection] = set()
        self.clients = self.requests = 0
        """How many have connected, and what was answered."""

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[Server]:
        """The server on this address while the context lasts.  port 0: one that is free.  InputError where it cannot
        be had."""
        quiet = logging.getLogger("dtql_robot.serving.websockets")  # what strangers send is no error of the server's
        quiet.setLevel(logging.CRITICAL)
        executor = None if self._served.in_place else ThreadPoolExecutor(1)
        self.batcher = Batcher(self._served.policy, executor)
        try:
            async with serve(
                self._converse,
                host,
                port,
                process_request=self._admit,
                origins=[None],
                compression=None,
                logger=quiet,
                max_size=self._served.largest_message,
                max_queue=2,
                open_timeout=SLOW,
                close_timeout=1,
                server_header=None,
            ) as server:
                yield server
        except OSError as error:
            raise InputError(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another --port or --host."
            ) from error
        finally:
            if executor is not None:
                executor.shutdown(wait=False, cancel_futures=True)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """A refusal, or None to go on.  `origins` then refuses browsers, so that no web page can move the robot."""
        if request.path == HEALTH:
            return connection.respond(HTTPStatus.OK, "OK\n")
        if self._token is not None:
            header = request.headers.get_all("Authorization")
            if len(header) != 1 or not presents(header[0], self._token):
                return connection.respond(HTTPStatus.UNAUTHORIZED, "a valid token is needed\n")
        if len(self._open) >= self._max_clients:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{self._max_clients} clients are connected\n")
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        self._open.add(connection)
        self.clients += 1
        session = Session(self._served, self.batcher)
        try:
            await connection.send(self._told)
            async for message in connection:
                reply = await session.reply(message)
                await asyncio.wait_for(connection.send(reply), SLOW)
                self.requests += 1
        except (ConnectionClosed, TimeoutError, asyncio.TimeoutError):
            pass
        except Exception as error:
            _log.error("a request failed: %s", describe(error), exc_info=error)
            with contextlib.suppress(ConnectionClosed):
                await connection.send("the server failed at this request; its log says why")
                await connection.close(INTERNAL_ERROR)
        finally:
            self._open.discard(connection)


async def run_server(
    server: PolicyServer, host: str, port: int, until: asyncio.Event, ready: Callable[[int], None]
) -> None:
    """Serve until the event is set.  ready: told the port."""
    async with server.listening(host, port) as listening:
        ready(next(iter(listening.sockets)).getsockname()[1])
        await until.wait()
