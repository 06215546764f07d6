"""A web server on this machine whose files can be cut short, changed, refused, redirected or slow."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """A file, and how the server answers for it.

    faults: one for each request from the first on, then none: "cut N" (the connection ends after N bytes), "stall N"
    (nothing after N bytes), a status such as "500", "redirect URL".
    headers: further ones; None takes a usual one away.  ranges: whether parts can be asked for.
    """

    content: bytes
    faults: list[str] = field(default_factory=list)
    headers: dict[str, str | None] = field(default_factory=dict)
    ranges: bool = True
    pause: float = 0.0
    """Seconds before every 64 KiB."""


class FileServer:
    """What is served by path, and what was asked: (path, Range, If-Range, Authorization)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, Served] = {}
        self.asked: list[tuple[str, str | None, str | None, str | None]] = []

    def put(self, path: str, content: bytes, *faults: str, **options: Any) -> str:
        """Serve `content` at `path`; returns its address."""
        self.files[path] = Served(content, list(faults), **options)
        return f"{self.url}{path}"


@contextmanager
def file_server() -> Iterator[FileServer]:
    """A running server; it is gone when the block ends."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.daemon_threads = True
    state = FileServer(f"http://127.0.0.1:{http.server_port}")
    http.state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:  # the name that http.server looks for
        state: FileServer = self.server.state  # type: ignore[attr-defined]
        state.asked.append((self.path, *(self.headers.get(h) for h in ("Range", "If-Range", "Authorization"))))
        served = state.files.get(self.path)
        if served is None:
            self.send_error(404)
            return
        fault, _, detail = (served.faults.pop(0) if served.faults else "").partition(" ")
        if fault == "redirect":
            self._head(302, {"Location": detail, "Content-Length": "0", **served.headers})
        elif fault.isdigit():
            self._head(int(fault), {"Content-Length": "0", **served.headers})
        else:
            with contextlib.suppress(OSError):
                self._send(served, fault, detail)

    def _send(self, served: Served, fault: str, detail: str) -> None:
        content, start = served.content, 0
        headers: dict[str, str | None] = {"ETag": '"1"', **served.headers}
        wanted, unchanged = self.headers.get("Range"), self.headers.get("If-Range")
        if wanted and served.ranges and unchanged in (None, headers["ETag"], headers.get("Last-Modified")):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self._head(416, {"Content-Length": "0"})
                return
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}", **headers}
        self._head(206 if start else 200, {"Content-Length": str(len(content) - start), **headers})
        end = start + int(detail) if fault else len(content)
        for at in range(start, min(end, len(content)), 2**16):
            time.sleep(served.pause)
            self.wfile.write(content[at : min(at + 2**16, end)])
        if fault == "stall":
            self.wfile.flush()
            time.sleep(3)
        if fault:
            self.connection.close()
            self.close_connection = True

    def _head(self, status: int, headers: dict[str, str | None]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
