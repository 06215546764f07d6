"""`dtql-robot compare`: evaluated runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from dtql_robot.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare evaluated runs: success rates (or returns) with intervals, and a paired test on the episodes they share.

    First evaluate each run with the same --seed and --episodes.
    Example: dtql-robot compare runs/a runs/b
    """

    runs: Positional[tuple[Path, ...]]
    """Run folders with a results.json, or copies of it that `eval --results` wrote."""
    json: bool = False
    """Print JSON for programs."""


def names(paths: tuple[Path, ...]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    plain = [path.resolve() for path in paths]
    for depth in range(1, max(len(p.parts) for p in plain) + 1):
        shown = ["/".join(p.parts[-depth:]) for p in plain]
        if len(set(shown)) == len(shown):
            return shown
    raise InputError(f"The same run is given twice: {', '.join(str(p) for p in paths)}.")


def run(options: Options) -> None:
    """Print the comparison.  InputError for fewer than two runs, or runs of different environments."""
    import json

    from dtql_robot.eval.comparison import compare
    from dtql_robot.run_folder import read_results

    if len(options.runs) < 2:
        raise InputError(f"A comparison needs at least two runs, found {len(options.runs)}.")
    labels = names(options.runs)
    found = compare({label: read_results(path) for label, path in zip(labels, options.runs, strict=True)})
    print(json.dumps(found.to_dict(), indent=2) if options.json else found)
