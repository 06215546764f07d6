"""Files from the network: fetched once, continued where they stopped, checked, and there whole or not at all.

What has arrived lies in a hidden file beside the target, which another run goes on with; once it is complete and
right, it takes the target's name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtql_robot.errors import InputError
from dtql_robot.system.http_source import Answer, InterruptedDownloadError, RangeError, network_errors, open_at
from dtql_robot.system.json_text import parse_json
from dtql_robot.system.locks import BeingWrittenError, locked
from dtql_robot.system.progress import progress_bar

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt, as long as no attempt brings anything new."""
TIMEOUT = "DTQL_TIMEOUT"
_TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 2**20


@dataclass(frozen=True)
class Remote:
    """A file to fetch.

    url      where it is
    size     its bytes, None where they are not known
    sha256   of its content, None where that is not known
    headers  further ones of the request
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    headers: Mapping[str, str] | None = None


def download(remote: Remote, target: Path, *, pauses: Sequence[float] = PAUSES, show: bool = True) -> Path:
    """The file at `target`, fetched where it is not there.  A second process waits for the first.

    show: a progress bar on stderr.
    InputError, with the address and the place to put the file, where it cannot be fetched or is not the right one.
    """
    if target.is_file():
        return target
    with alone(target):
        if not target.is_file():
            with _with_remedy(remote.url, target):
                _fetch(remote, target, pauses, show)
    return target


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Have `target` for this process; another one that is fetching it is waited for, with a note."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(target))
        except BeingWrittenError:
            print(f"waiting: another process is fetching {target.name}", file=sys.stderr)
            stack.enter_context(locked(target, wait=True))
        yield


@contextmanager
def _with_remedy(url: str, target: Path) -> Iterator[None]:
    try:
        yield
    except InterruptedDownloadError as error:
        again = "Without a network, fetch it elsewhere" if error.offline else "Try again, or fetch it yourself"
        raise InputError(f"{url} cannot be fetched: {error}. {again} and put it at {target}.") from error
    except InputError as error:
        raise InputError(f"{error} If you have the file from elsewhere, put it at {target}.") from error


@dataclass
class _Partial:
    """What has arrived of a file, and which file that is."""

    path: Path
    have: int = 0
    size: int | None = None
    validator: str | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, remote: Remote, target: Path) -> _Partial:
        name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
        found = cls(target.with_name(f".dtql-{name}.part"), size=remote.size, sha256=remote.sha256)
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            noted = parse_json(found.note.read_text())
            if noted["url"] == remote.url and not found.path.is_symlink():
                found.have, found.validator = found.path.stat().st_size, noted["validator"]
                found.size, found.sha256 = remote.size or noted["size"], remote.sha256 or noted["sha256"]
        return found

    @property
    def note(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def continues(self) -> bool:
        """Whether the rest can be asked for: a change of the file in between would be noticed."""
        return self.have > 0 and (self.validator is not None or self.sha256 is not None)

    def remember(self, url: str) -> None:
        known = {"url": url, "validator": self.validator, "size": self.size, "sha256": self.sha256}
        self.note.unlink(missing_ok=True)  # a link there is none of ours, and is not followed
        with open(self.note, "x", encoding="utf-8") as file:
            json.dump(known, file)

    def remove(self) -> None:
        self.have, self.size, self.validator = 0, None, None
        for path in (self.path, self.note):
            path.unlink(missing_ok=True)


class _Bar:
    """How much has arrived, shown from the server's first answer on."""

    def __init__(self, name: str, enabled: bool) -> None:
        self._name, self._enabled = name, enabled
        self._bar: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, partial: _Partial) -> None:
        if self._bar is None:
            self._bar = progress_bar(
                self._name, total=partial.size, unit="B", scale=True, enabled=self._enabled, initial=partial.have
            )
        else:
            self._bar.reset(total=partial.size)
            self.show(partial)

    def show(self, partial: _Partial) -> None:
        self._bar.update(partial.have - self._bar.n)


def partial_files(target: Path) -> list[Path]:
    """What an interrupted download of `target` has left beside it."""
    partial = _Partial.of(Remote(""), target)
    return [path for path in (partial.path, partial.note) if path.exists()]


def _fetch(remote: Remote, target: Path, pauses: Sequence[float], show: bool) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _Partial.of(remote, target)
        with _Bar(target.name, show) as bar:
            joined = _receive_all(remote, partial, pauses, bar)
            right = _is_right(partial)
            if joined and not right:  # of two versions of the file
                partial.remove()
                _receive_all(remote, partial, pauses, bar)
                right = _is_right(partial)
        if not right:
            partial.remove()
            raise InputError(
                f"{remote.url} is not the expected file: its SHA-256 is not {partial.sha256}. It "
                "was changed or damaged."
            )
        _place(partial, target)
    except OSError as error:
        kept = " What has been downloaded is kept." if partial_files(target) else ""
        raise InputError(f"{target} cannot be written: {error.strerror or error}.{kept}") from error
    except KeyboardInterrupt:
        interrupt: Any = KeyboardInterrupt()  # `add_note` came with Python 3.11
        interrupt.__notes__ = ["What has been downloaded is kept; the same command continues from there."]
        raise interrupt from None


def _receive_all(remote: Remote, partial: _Partial, pauses: Sequence[float], bar: _Bar) -> bool:
    """Ask until everything has arrived; returns whether it came in more than one piece."""
    first = partial.have
    pieces, idle = int(first > 0), 0
    while partial.size is None or partial.have != partial.size or not partial.path.is_file():
        before = partial.have
        try:
            _receive(remote, partial, bar)
            return pieces > 0
        except RangeError:
            if not before:
                raise InputError(f"{remote.url} returned a part that was not requested.") from None
            partial.remove()
        except InterruptedDownloadError as error:
            pieces += 1
            idle = 0 if partial.have > before else idle + 1
            if idle > len(pauses) or (error.offline and partial.have <= first):
                raise
            usual = pauses[max(idle - 1, 0)] if pauses else 0.0
            time.sleep(usual if error.pause is None else error.pause)
    return pieces > 0


def _receive(remote: Remote, partial: _Partial, bar: _Bar) -> None:
    """One request; returns when the file is complete."""
    start = partial.have if partial.continues else 0
    answer = open_at(remote.url, start, partial.validator, timeout=_timeout(), headers=remote.headers)
    with answer.stream:
        _begin(remote, partial, answer)
        bar.begin(partial)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(partial.path, flags, 0o666), "wb", buffering=0) as file:
            file.truncate(partial.have)
            file.seek(partial.have)
            while block := _next(remote.url, answer):
                rest = memoryview(block)
                while rest:
                    written = file.write(rest)
                    partial.have, rest = partial.have + written, rest[written:]
                bar.show(partial)
            os.fsync(file.fileno())
    if partial.size is not None and partial.have < partial.size:
        raise InterruptedDownloadError(f"the connection was cut after {partial.have} of {partial.size} bytes")
    if partial.size is not None and partial.have > partial.size:
        expected = partial.size
        partial.remove()
        raise InputError(f"{remote.url} has more than the expected {expected} bytes.")
    partial.size = partial.have


def _begin(remote: Remote, partial: _Partial, answer: Answer) -> None:
    """Take note of what the server says of the file; refuse one of another size, or larger than the disk."""
    if remote.size is not None and answer.size not in (None, remote.size):
        raise InputError(f"{remote.url} has {answer.size} bytes instead of {remote.size}: it has changed.")
    if answer.start == 0:
        partial.have, partial.validator = 0, answer.validator
        partial.size, partial.sha256 = remote.size or answer.size, remote.sha256 or answer.sha256
        partial.path.unlink(missing_ok=True)
    elif partial.size is None:
        partial.size = answer.size
    free = shutil.disk_usage(partial.path.parent).free
    if partial.size is not None and partial.size - partial.have > free:
        raise InputError(
            f"{remote.url} takes {partial.size / 1e9:.3g} GB, and {partial.path.parent} has {free / 1e9:.3g} GB free."
        )
    partial.remember(remote.url)


def _next(url: str, answer: Answer) -> bytes:
    with network_errors(url):
        return answer.stream.read1(_BLOCK)


def _timeout() -> float:
    text = os.environ.get(TIMEOUT) or str(_TIMEOUT)
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1e6:
            return float(text)
    raise InputError(f"{TIMEOUT} is {text!r}; expected a number of seconds.")


def _is_right(partial: _Partial) -> bool:
    if partial.sha256 is None:
        return True
    total = hashlib.sha256()
    with open(partial.path, "rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return total.hexdigest() == partial.sha256.lower()


def _place(partial: _Partial, target: Path) -> None:
    os.replace(partial.path, target)
    partial.note.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
