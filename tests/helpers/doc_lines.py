"""Bring the line numbers in a document up to date: python -m tests.helpers.doc_lines docs/algorithm.md

They stand in mentions such as `algorithm/losses.py:28` `denoising_loss`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "dtql_robot"
MENTION = re.compile(r"`([\w/]+\.py)(?::\d+)?` `(\w+)`")


def line_of(file: str, function: str) -> int:
    """The line of `def function` in a file of the package; LookupError if there is none."""
    for number, line in enumerate((PACKAGE / file).read_text().splitlines(), 1):
        if re.match(rf"\s*def {function}\(", line):
            return number
    raise LookupError(f"{file} has no function {function}")


def with_lines(text: str) -> str:
    """The text with each mention's line as it is now."""
    return MENTION.sub(lambda m: f"`{m[1]}:{line_of(m[1], m[2])}` `{m[2]}`", text)


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(with_lines(document.read_text()))
