"""Folders of files from Hugging Face's hub: all of one revision, complete or not there.

Each file is fetched by dtql_robot.system.download into a hidden folder beside the target, which another run goes on
with, and which takes the target's name once it holds them all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from dtql_robot.datasets.published.names import HUB, base_url
from dtql_robot.errors import InputError
from dtql_robot.system.download import PAUSES, Remote, alone, download
from dtql_robot.system.http_source import Answer, DeniedError, InterruptedDownloadError, network_errors, open_at
from dtql_robot.system.json_text import parse_json
from dtql_robot.system.progress import progress_bar

TOKEN = "HF_TOKEN"
REVISION = ".dtql-revision"
"""File in a fetched folder with the revision that it holds."""
_LARGEST_LIST = 64 * 2**20  # bytes of an answer that lists files
_LARGE = 32 * 2**20  # bytes of a file from which it gets a progress bar of its own
_SECONDS = 30.0


@dataclass(frozen=True)
class HubFolder:
    """A folder of a data set repository.

    scheme      of the name that the user gave: whose mirror counts
    repository  "ORGANISATION/NAME"
    below       folder in the repository; "" for all of it
    revision    branch, tag or commit
    """

    scheme: str
    repository: str
    below: str = ""
    revision: str = "main"

    @property
    def endpoint(self) -> str:
        """The hub, or its mirror."""
        return base_url(self.scheme, HUB)

    @property
    def page(self) -> str:
        """Where a person finds it."""
        below = f"/{quote(self.below)}" if self.below else ""
        return f"{self.endpoint}/datasets/{self.repository}/tree/{quote(self.revision, safe='')}{below}"


def fetch_folder(folder: HubFolder, target: Path, *, pauses: Sequence[float] = PAUSES, show: bool = True) -> Path:
    """The hub's folder as `target`, fetched where that is not there.  InputError where it cannot be fetched."""
    if target.is_dir():
        return target
    with alone(target):
        if not target.is_dir():
            try:
                _fetch(folder, target, pauses, show)
            except InterruptedDownloadError as error:
                again = "Without a network, fetch" if error.offline else "Try again to continue, or fetch"
                raise InputError(
                    f"{folder.page} cannot be fetched: {error}. {again} the files elsewhere and put them into {target}."
                ) from error
    return target


def unfinished_folder(target: Path) -> Path:
    """Where the files of an interrupted download of `target` wait."""
    return target.with_name(f".dtql-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.parts")


def _fetch(folder: HubFolder, target: Path, pauses: Sequence[float], show: bool) -> None:
    about = f"{folder.endpoint}/api/datasets/{folder.repository}"
    said = _get(f"{about}/revision/{quote(folder.revision, safe='')}", pauses)[0]
    commit = said.get("sha") if isinstance(said, dict) else None
    if not isinstance(commit, str) or not re.fullmatch(r"\w+", commit):
        raise InputError(f"{about} does not say which revision {folder.revision!r} is; is it a mirror of the hub?")
    files = _files(folder, about, commit, pauses)
    parts = unfinished_folder(target)
    if parts.is_symlink():  # not of ours: what is fetched stays here
        parts.unlink()
    with contextlib.suppress(OSError):
        if (parts / REVISION).read_text() != commit:
            shutil.rmtree(parts)
    parts.mkdir(parents=True, exist_ok=True)
    (parts / REVISION).write_text(commit)
    with progress_bar(folder.repository, total=len(files), unit="file", enabled=show) as bar:
        for path, entry in files.items():
            url = f"{folder.endpoint}/datasets/{folder.repository}/resolve/{commit}/{quote(entry['path'])}"
            size = entry.get("size")
            digest = (entry.get("lfs") or {}).get("oid")
            remote = Remote(url, size if isinstance(size, int) else None, digest, _token())
            download(remote, parts / path, pauses=pauses, show=show and (size or 0) >= _LARGE)
            bar.update()
    os.replace(parts, target)


def _files(folder: HubFolder, about: str, commit: str, pauses: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Path below the folder -> what the hub lists of the file."""
    below = f"/{quote(folder.below)}" if folder.below else ""
    url: str | None = f"{about}/tree/{commit}{below}?recursive=true"
    found: dict[str, dict[str, Any]] = {}
    while url:
        entries, url = _get(url, pauses)
        for entry in entries if isinstance(entries, list) else []:
            if not isinstance(entry, dict) or entry.get("type") != "file":
                continue
            path = str(entry.get("path"))
            inside = path.removeprefix(f"{folder.below}/") if folder.below else path
            if not _is_safe(inside) or (folder.below and inside == path):
                raise InputError(
                    f"{about} lists a file {path!r}, which does not belong in a data set; it is not fetched."
                )
            if not PurePosixPath(inside).name.startswith(".git"):
                found[inside] = entry
    if not found:
        raise InputError(f"{folder.page} contains no files.")
    return found


def _is_safe(path: str) -> bool:
    parts = path.split("/")
    return path.isprintable() and "\\" not in path and all(part not in ("", ".", "..", REVISION) for part in parts)


def _token() -> Mapping[str, str] | None:
    token = os.environ.get(TOKEN, "").strip()
    return {"Authorization": f"Bearer {token}"} if token.isprintable() and token else None


def _get(url: str, pauses: Sequence[float]) -> tuple[Any, str | None]:
    """(the hub's answer in JSON, the address of its next page)."""
    for pause in (*pauses, None):
        try:
            answer = open_at(url, timeout=_SECONDS, headers=_token())
            with answer.stream, network_errors(url):
                text = answer.stream.read(_LARGEST_LIST + 1)
            return _parsed(url, text), _next_page(answer)
        except InterruptedDownloadError as error:
            if error.offline or pause is None:
                raise
            time.sleep(pause if error.pause is None else error.pause)
        except DeniedError as error:
            raise InputError(
                f"{error} The answer is the same if the data set does not exist; for a private one, set {TOKEN}."
            ) from error
    raise AssertionError


def _parsed(url: str, text: bytes) -> Any:
    try:
        if len(text) <= _LARGEST_LIST:
            return parse_json(text)
    except ValueError:
        pass
    raise InputError(f"{url} does not answer like Hugging Face's hub; check the address of the mirror.")


def _next_page(answer: Answer) -> str | None:
    found = re.search(r'<([^>]+)>;\s*rel="next"', answer.stream.headers.get("Link", ""))
    return found[1] if found else None
