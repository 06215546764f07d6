"""Print a document with the current line of every function that it names as `file.py` `function`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "dtql_robot"
MENTION = re.compile(r"`([\w/]+\.py)` `(\w+)`")


def line_of(file: str, function: str) -> int:
    """The line of `def function` in a file of the package; LookupError if there is none."""
    for number, line in enumerate((PACKAGE / file).read_text().splitlines(), 1):
        if re.match(rf"\s*def {function}\(", line):
            return number
    raise LookupError(f"{file} has no function {function}")


def with_lines(text: str) -> str:
    """The text with each mention's line: `losses.py:28` `denoising_loss`."""
    return MENTION.sub(lambda m: f"`{m[1]}:{line_of(m[1], m[2])}` `{m[2]}`", text)


if __name__ == "__main__":
    print(with_lines(Path(sys.argv[1]).read_text()))
