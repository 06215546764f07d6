"""`compare`: evaluations side by side, from wherever they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from dtql_robot.errors import InputError
from dtql_robot.eval import comparison
from dtql_robot.eval.comparison import Comparison
from dtql_robot.eval.result import EvalResult
from dtql_robot.run_folder import read_results

Evaluated = EvalResult | str | os.PathLike[str] | Mapping[str, Any]


def compare(runs: Sequence[Evaluated] | Mapping[str, Evaluated]) -> Comparison:
    """Compare evaluations of one environment: rates (or returns) with intervals, and a paired test of each two.

        compare(["runs/a", "runs/b"])
        compare({"with Q": result, "without": "runs/no-q@best"})

    runs: two or more, in a list or by the names to show.  Each is a run folder that `eval` wrote results.json into,
    such a file, what `evaluate` returned, or the content of results.json.  Evaluate them with the same seed.
    """
    named = runs if isinstance(runs, Mapping) else _named(runs)
    return comparison.compare({name: _content(found) for name, found in named.items()})


def _content(found: Evaluated) -> Mapping[str, Any]:
    if isinstance(found, EvalResult):
        return found.to_dict()
    if isinstance(found, str | os.PathLike):
        return read_results(Path(found).expanduser())
    if not isinstance(found, Mapping):
        raise InputError(
            f"Expected a run folder, a result of evaluate or the content of results.json, found {found!r}."
        )
    return found


def _named(runs: Sequence[Evaluated]) -> dict[str, Evaluated]:
    if isinstance(runs, str | os.PathLike | EvalResult):
        raise InputError(f"A comparison needs at least two runs in a list, found {runs!r}.")
    paths = [Path(cast("str", found)) for found in runs if isinstance(found, str | os.PathLike)]
    names = iter(names_of(paths))
    named: dict[str, Evaluated] = {}
    for i, found in enumerate(runs):
        named[next(names) if isinstance(found, str | os.PathLike) else f"result {i + 1}"] = found
    return named


def names_of(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart.  InputError where two are the same."""
    plain = [path.expanduser().resolve() for path in paths]
    for depth in range(1, max((len(p.parts) for p in plain), default=0) + 1):
        shown = ["/".join(p.parts[-depth:]) for p in plain]
        if len(set(shown)) == len(shown):
            return shown
    if not plain:
        return []
    raise InputError(f"The same run is given twice: {', '.join(str(p) for p in paths)}.")
