"""Draws which part of the package may import which, from the table that the tests hold the code to.

    python -m tests.helpers.picture docs/architecture.md

rewrites the picture between the two marks of that page.  An arrow is drawn only where no longer way leads to the same
part, and what every part may import is named below the picture instead of drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tests.test_imports import ALLOWED, COMMON

BEGIN, END = "<!-- picture: begin -->", "<!-- picture: end -->"
JOINING = ("cli", "commands")
"""What joins all sides, and is not in the table."""

Table = Mapping[str, set[str]]


def reachable(table: Table, start: str) -> set[str]:
    """All that `start` leads to, itself aside unless it stands on a circle."""
    found: set[str] = set()
    waiting = list(table[start])
    while waiting:
        part = waiting.pop()
        if part not in found:
            found.add(part)
            waiting += table[part]
    return found


def circles(table: Table) -> list[str]:
    """The parts from which a way leads back to themselves."""
    return [part for part in table if part in reachable(table, part)]


def arrows(table: Table) -> list[tuple[str, str]]:
    """(from, to) of each import that no other import stands between."""
    return [
        (part, to)
        for part in sorted(table)
        for to in sorted(table[part])
        if not any(to in reachable(table, other) for other in table[part] - {to})
    ]


def picture() -> str:
    """The mermaid text of the table, in its code block."""
    own = {part: ALLOWED[part] - COMMON for part in ALLOWED if part not in COMMON}
    own["commands"] = set(own)
    lines = ["```mermaid", "graph TD", "    cli --> commands"]
    lines += [f"    {part} --> {to}" for part, to in arrows(own)]
    return "\n".join([*lines, "```", "", f"Every part may also import {', '.join(f'`{c}`' for c in sorted(COMMON))}."])


def with_picture(text: str) -> str:
    """The page with the picture as it is now.  ValueError where the page lacks the marks."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{picture()}\n{END}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_picture(page.read_text()))
