"""Groups of tasks in one number a method, and single tasks, beside what is published of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dtql_robot.experiments.aggregate import mean, over_tasks
from dtql_robot.experiments.published import BY_TASK, PUBLISHED, TASKS_OF
from dtql_robot.experiments.table import Cell

_HEADER = ("tasks", "method", "IQM", "95% interval", "mean", "tasks x seeds", "source")
_SCORED = "d4rl "
"""How groups begin whose measure is the normalized score; that of all others is success."""


def summary(
    cells: Sequence[Cell], groups: Mapping[str, str], behaviour: Mapping[str, Sequence[float]] | None = None
) -> str:
    """A Markdown table: of each group, and of each task with published results, its methods and then the published.

    A method's number is the interquartile mean over tasks and seeds, with a stratified bootstrap's interval.
    groups: task -> its group; tasks of none are left out.  "" where no task has a group.
    behaviour: task -> normalized score of each demonstration; such tasks have lines of their own.  The demonstrations'
    number is the mean, its interval a bootstrap's over them.
    """
    behaviour = behaviour or {}
    lines: list[tuple[str, ...]] = []
    mine = [c for c in cells if c.task in groups and _values(c, groups[c.task])]
    for group in dict.fromkeys(groups[c.task] for c in mine):
        found = [c for c in mine if groups[c.task] == group]
        lines += _lines(group, group, found, _published(group, len({c.task for c in found})))
        means = [float(mean(behaviour[t])) for t in dict.fromkeys(c.task for c in found) if t in behaviour]
        lines += _data_line(group, means, "") if means else []
        for task in dict.fromkeys(c.task for c in found if c.task in BY_TASK or c.task in behaviour):
            lines += _lines(task, group, [c for c in found if c.task == task], BY_TASK.get(task, {}))
            if task in behaviour:
                lines += _data_line(task, behaviour[task], _spread(over_tasks([behaviour[task]], mean)[1], "{:.1f}"))
    if not lines:
        return ""
    rows = [_HEADER, tuple("---" for _ in _HEADER), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _published(group: str, tasks: int) -> Mapping[str, Mapping[str, float]]:
    """Of a group; where not all of its tasks were run, the source says that the mean is over more."""
    more = f"; mean of {TASKS_OF[group]} tasks" if tasks < TASKS_OF.get(group, 0) else ""
    return {f"{source}{more}": numbers for source, numbers in PUBLISHED.get(group, {}).items()}


def _data_line(name: str, scores: Sequence[float], spread: str) -> list[tuple[str, ...]]:
    """What the demonstrations reach: the mean of `scores`, of tasks or of episodes, and its interval in words."""
    return [(name, "behaviour", "", spread, f"{mean(scores):.1f}", str(len(scores)), "the data")]


def _spread(interval: tuple[float, float] | None, show: str) -> str:
    return "" if interval is None else f"{show.format(interval[0])} to {show.format(interval[1])}"


def _values(cell: Cell, group: str) -> tuple[float, ...]:
    """Of each seed, in the measure of the group; empty where that is not known."""
    if group.startswith(_SCORED):
        return cell.scores
    return cell.rates if cell.measure == "success" else ()


def _lines(
    name: str, group: str, cells: Sequence[Cell], published: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, ...]]:
    """The methods' lines of one group or task, then the published ones."""
    show = "{:.1f}" if group.startswith(_SCORED) else "{:.3f}"
    methods = dict.fromkeys(c.method for c in cells)
    lines = [_line(name, m, [_values(c, group) for c in cells if c.method == m], show) for m in methods]
    for source, results in published.items():
        for method, value in results.items():
            text = f"{value:.1f}" if group.startswith(_SCORED) else f"{value / 100:.2f}"
            lines.append((name, method, "", "", text, "", source))
    return lines


def _line(name: str, method: str, values: Sequence[tuple[float, ...]], show: str) -> tuple[str, ...]:
    value, interval = over_tasks(values)
    runs = f"{len(values)} x {max(map(len, values))}"
    return (
        name,
        method,
        show.format(value),
        _spread(interval, show),
        show.format(over_tasks(values, mean)[0]),
        runs,
        "here",
    )
