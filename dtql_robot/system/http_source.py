"""What a web server says of a file, and its bytes from some place on."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit

from dtql_robot import __version__
from dtql_robot.errors import InputError

PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP answers after which the same request may succeed a moment later."""
_UNREACHED = (socket.gaierror, ConnectionRefusedError, TimeoutError)
LONGEST_PAUSE = 60.0  # seconds that a server may ask for


class InterruptedDownloadError(Exception):
    """The connection failed in a way that may pass.

    pause: the seconds that the server asks to wait, None where it does not say.
    offline: no server was reached at all.
    """

    def __init__(self, reason: str, *, pause: float | None = None, offline: bool = False) -> None:
        super().__init__(reason)
        self.pause, self.offline = pause, offline


class DeniedError(InputError):
    """The server keeps the file to itself, or from those it does not know (401, 403)."""


class RangeError(Exception):
    """The server has no bytes from the place on that was requested."""


@dataclass(frozen=True)
class Answer:
    """A server's answer to a request for a file.

    stream     gives the bytes from `start` on
    start      0 where the server sends the whole file, though a part was asked for
    size       bytes of the whole file, None where the server does not say
    validator  changes with the file's content (for If-Range), None where there is nothing of the kind
    sha256     of the whole file, where the server says so (Hugging Face does)
    """

    stream: http.client.HTTPResponse
    start: int
    size: int | None
    validator: str | None
    sha256: str | None


class _Linked(urllib.request.HTTPRedirectHandler):
    """Follows redirections, notes what those of Hugging Face say of the file, and keeps the token from other hosts."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        self.found |= {k.lower(): v for k, v in headers.items() if k.lower().startswith("x-linked-")}
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in ("http", "https") or (before.scheme, after.scheme) == ("https", "http"):
            raise InputError(f"{req.full_url} redirects to {newurl}, which is not safe to follow; use another mirror.")
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and before.netloc != after.netloc:
            new.remove_header("Authorization")
        return new


def open_at(
    url: str, start: int = 0, validator: str | None = None, *, timeout: float, headers: Mapping[str, str] | None = None
) -> Answer:
    """Ask for the bytes of a file from `start` on, if the file still is the one that `validator` belongs to.

    timeout: seconds without an answer, or without further bytes.  headers: further ones of the request.
    Raises InterruptedDownloadError for what may pass, RangeError where there is no such place, and InputError for a
    file that is not there and for answers that are no file.
    """
    _check_address(url)
    asked = {"User-Agent": f"dtql-robot/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
    if start:
        asked["Range"] = f"bytes={start}-"
    if start and validator:
        asked["If-Range"] = validator
    redirects = _Linked()
    opener = urllib.request.build_opener(redirects)
    with network_errors(url):
        stream = opener.open(urllib.request.Request(url, headers=asked), timeout=timeout)
    try:
        return _described(url, stream, start, {**redirects.found, **{k.lower(): v for k, v in stream.headers.items()}})
    except BaseException:
        stream.close()
        raise


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{url!r} is not an address that files can be fetched from; expected http://... or https://...."
        )
    if "@" in parts.netloc:
        raise InputError(
            f"The address of {parts.hostname} contains a name or password, which is not supported; leave it out."
        )


def _described(url: str, stream: Any, start: int, said: Mapping[str, str]) -> Answer:
    if said.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise InputError(
            f"{url} was sent compressed ({said['content-encoding']}), although it was requested uncompressed; "
            "use another mirror."
        )
    if said.get("content-type", "").lower().startswith("text/html"):
        raise InputError(
            f"{url} returned a web page instead of the file, as networks with a login page do; "
            "log in, or use another mirror."
        )
    begins, size = 0, _number(said.get("content-length"))
    if stream.status == http.client.PARTIAL_CONTENT:
        place = re.fullmatch(r"bytes (\d+)-\d*/(\d+|\*)", said.get("content-range", "").strip())
        if place is None or int(place[1]) != start:
            raise RangeError
        begins, size = start, _number(place[2])
    if size is None:
        size = _number(said.get("x-linked-size"))
    etag, digest = said.get("etag", ""), said.get("x-linked-etag", "").strip('"')
    validator = etag if etag.startswith('"') else said.get("last-modified")
    known = digest.lower() if re.fullmatch(r"[0-9a-fA-F]{64}", digest) else None
    return Answer(stream, begins, size, validator or None, known)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None


@contextlib.contextmanager
def network_errors(url: str) -> Iterator[None]:
    """What goes wrong in a connection, as InterruptedDownloadError where it may pass and as InputError elsewhere."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            _refused(url, error.code, error.reason, error.headers)
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise InputError(f"{url}: the server's certificate is not trusted ({reason.verify_message}).") from error
        reached = isinstance(reason, OSError) and not isinstance(reason, _UNREACHED) and "unreach" not in str(reason)
        words = (reason.strerror if isinstance(reason, OSError) else None) or str(reason)
        raise InterruptedDownloadError(words, offline=not reached) from error
    except http.client.InvalidURL as error:
        raise InputError(f"{url!r} is not a valid address: {error}.") from error
    except TimeoutError as error:
        raise InterruptedDownloadError("the server has stopped answering") from error
    except http.client.HTTPException as error:
        raise InterruptedDownloadError("the server closed the connection") from error
    except OSError as error:  # of the network: nothing here writes
        raise InterruptedDownloadError(error.strerror or "the connection was lost") from error


def _refused(url: str, code: int, reason: str, headers: Message) -> None:
    if code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise RangeError
    if code in PASSING:
        seconds = _number(headers.get("Retry-After"))
        pause = None if seconds is None else min(float(seconds), LONGEST_PAUSE)
        raise InterruptedDownloadError(f"the server answers {code} {reason}", pause=pause)
    if code in (401, 403):
        raise DeniedError(f"{url}: the server denied access ({code} {reason}).")
    if code in (404, 410):
        raise InputError(f"{url}: there is no such file ({code} {reason}).")
    raise InputError(f"{url}: the server answers {code} {reason}.")
