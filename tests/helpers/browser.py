"""A headless Chromium, spoken to over its DevTools protocol: what a page shows, and what goes wrong in it."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 120.0
"""In which the browser must have started and answered; it takes one on an idle machine."""


class Page:
    """One tab.  errors: exceptions and errors of the console so far."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._numbers = connection, itertools.count(1)
        self.errors: list[str] = []
        self._loaded = False
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = self._next()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]

    def _next(self) -> dict[str, Any]:
        message = json.loads(self._connection.recv(timeout=SECONDS))
        self._loaded |= message.get("method") == "Page.loadEventFired"
        params = message.get("params", {})
        entry = params.get("entry", {})
        if message.get("method") == "Runtime.exceptionThrown" or entry.get("level") == "error":
            self.errors.append(json.dumps(params)[:500])
        if message.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(json.dumps(params)[:500])
        return message

    def open(self, path: Path, width: int, height: int = 900, dark: bool = False) -> None:
        """Load a file in a window of this size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self.call("Page.navigate", url=path.as_uri())
        while not self._loaded:  # it may have come before the answer
            self._next()

    def js(self, expression: str) -> Any:
        """The value of an expression, or of the promise that it gives."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, (expression, found)
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A tab of a browser that ends with the block."""
    from websockets.sync.client import connect

    assert CHROMIUM is not None
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--mute-audio",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    process = subprocess.Popen([CHROMIUM, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_address(profile, process), max_size=None, open_timeout=SECONDS) as connection:
            yield Page(connection)
    finally:
        process.kill()
        process.wait()


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Of the tab, once the browser has written down its port."""
    written, deadline = profile / "DevToolsActivePort", time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the browser has ended"
        with contextlib.suppress(OSError, ValueError, IndexError):
            port = int(written.read_text().splitlines()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
                return next(t["webSocketDebuggerUrl"] for t in json.load(answer) if t["type"] == "page")
        time.sleep(0.05)
    raise AssertionError("the browser does not start")
