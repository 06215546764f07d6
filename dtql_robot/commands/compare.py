"""`dtql-robot compare`: evaluated runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare evaluated runs: success rates (or returns) with intervals, and a paired test on the episodes they share.

    First evaluate each run with the same --seed and --episodes.
    Example: dtql-robot compare runs/a runs/b
    """

    runs: Positional[tuple[Path, ...]]
    """Run folders with a results.json (RUN@best for that checkpoint), or copies of it that `eval --json` wrote."""
    json: bool = False
    """Print JSON for programs."""


def run(options: Options) -> None:
    """Print the comparison.  InputError for fewer than two runs, or runs of different environments."""
    import json

    from dtql_robot.api.comparing import compare

    found = compare(options.runs)
    print(json.dumps(found.to_dict(), indent=2) if options.json else found)
