"""What a table of methods says of each task, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from dtql_robot.experiments.table import Cell


def verdicts(cells: Sequence[Cell]) -> list[str]:
    """Of each task with several methods in one measure: the highest one, and which others it cannot be told from.

    Two methods are told apart where their 95% intervals have nothing in common, which is more than a test of the
    difference asks for.
    """
    found = []
    for task in dict.fromkeys(c.task for c in cells):
        mine = [c for c in cells if c.task == task]
        if len(mine) < 2 or len({c.measure for c in mine}) > 1:
            continue
        best = max(mine, key=lambda c: c.mean)
        alike = [c.method for c in mine if c is not best and c.interval[1] >= best.interval[0]]
        told = f"not told apart from it: {', '.join(alike)}" if alike else "all others are below its interval"
        found.append(f"{task}: {best.method} has the highest {best.measure}; {told}.")
    return found
