"""Groups of tasks in one number a method, beside what is published of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dtql_robot.experiments.aggregate import mean, over_tasks
from dtql_robot.experiments.published import PUBLISHED
from dtql_robot.experiments.table import Cell

_HEADER = ("tasks", "method", "IQM", "95% interval", "mean", "tasks x seeds", "source")


def summary(cells: Sequence[Cell], groups: Mapping[str, str]) -> str:
    """A Markdown table: of each group its methods' interquartile mean over tasks and seeds, then the published means.

    groups: task -> its group; tasks of none are left out.  "" where no task has a group.
    """
    lines: list[tuple[str, ...]] = []
    for group in dict.fromkeys(groups.values()):
        mine = [c for c in cells if groups.get(c.task) == group and c.measure == "success"]
        lines += [_line(group, m, [c for c in mine if c.method == m]) for m in dict.fromkeys(c.method for c in mine)]
        for source, results in PUBLISHED.get(group, {}).items() if mine else ():
            lines += [(group, name, "", "", f"{value / 100:.2f}", "", source) for name, value in results.items()]
    if not lines:
        return ""
    rows = [_HEADER, tuple("---" for _ in _HEADER), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _line(group: str, method: str, cells: Sequence[Cell]) -> tuple[str, ...]:
    rates = [c.rates for c in cells]
    value, interval = over_tasks(rates)
    spread = "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
    runs = f"{len(cells)} x {max(map(len, rates))}"
    return group, method, f"{value:.3f}", spread, f"{over_tasks(rates, mean)[0]:.3f}", runs, "here"
