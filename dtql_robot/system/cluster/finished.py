"""What is done of a long piece of work, in a folder, so that a second start takes it up.

Every part has a file of its own, which appears whole or not at all.  `recipe.json` says what is being made; parts of
other work are never mixed in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dtql_robot.errors import InputError
from dtql_robot.system.cluster.versions import fingerprint
from dtql_robot.system.files import write_json

RECIPE, LINES = "recipe.json", "parts.jsonl"


class Finished:
    """The parts of one piece of work.  folder: beside what is made, such as ".pick.hdf5.parts"."""

    def __init__(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        """InputError where the folder holds parts of other work."""
        self.folder, recorded, self._clean = folder, folder / RECIPE, False
        recipe = json.loads(json.dumps(recipe))
        if recorded.exists():
            with contextlib.suppress(OSError, ValueError):
                if json.loads(recorded.read_text()) == recipe:
                    return
            raise InputError(
                f"{folder} holds parts of other work; repeat the command that it is from, or delete the "
                "folder to start over."
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(recorded, recipe)

    @classmethod
    def beside(cls, path: Path, recipe: Mapping[str, Any]) -> Finished:
        """Parts in a hidden folder beside `path`, of its own for each recipe, and for each state of the packages."""
        recipe = {**recipe, "versions": fingerprint()}
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
        return cls(path.with_name(f".{path.name}.{digest}.parts"), recipe)

    def path(self, name: str) -> Path:
        """Where the part of this name is, or will be."""
        return self.folder / name

    def lines(self) -> Iterator[Any]:
        """What `add_line` has added, but for a last line that was cut off."""
        with contextlib.suppress(FileNotFoundError):
            for line in self.path(LINES).read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    yield json.loads(line)

    def add_line(self, value: Any) -> None:
        """Add a small part."""
        with open(self.path(LINES), "rb+" if self.path(LINES).exists() else "wb") as file:
            whole = file.seek(0, os.SEEK_END)
            if whole and not self._clean:
                whole = self.path(LINES).read_bytes().rfind(b"\n") + 1
                file.truncate(whole)
            self._clean = True
            file.seek(whole)
            file.write(json.dumps(value).encode() + b"\n")

    def remove(self) -> None:
        """All is done: remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
