"""Rules of `validate` about the scale of numbers: entries that count as constant, outliers that flatten the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.validation.findings import Finding, Use, error, warning
from dtql_robot.types import Array, Demonstrations, Episode, is_constant, is_image

_INNER = (0.05, 0.95)  # quantiles between which most values lie
_FLATTENED = 30.0  # scaled by this many times what most values span, they are as good as constant
_FAR = 0.1  # share of the largest deviation that makes a value an outlier beside it
_FEW = 1e-3  # share of the steps that outliers may be; more are what the robot does
_ROWS = 4000  # rows from which quantiles are estimated

Rows = Callable[[Episode], Array]


def columns(demos: Demonstrations) -> Iterator[tuple[str, Rows]]:
    """(name, function that gives an episode's rows (T, D)) of the actions and every low-dimensional observation."""
    yield "actions", lambda e: e.actions
    first = demos.episodes[0]
    for key, shape in demos.obs_shapes.items():
        if not is_image(shape, first.obs[key].dtype):
            yield f"observation {key!r}", lambda e, key=key: e.obs[key].reshape(len(e), -1)  # type: ignore[misc]


def extremes(demos: Demonstrations, rows: Rows) -> tuple[Array, Array]:
    """Lowest and highest value of each column (D,) over all episodes, float64."""
    low = np.min([rows(e).min(axis=0) for e in demos.episodes], axis=0)
    high = np.max([rows(e).max(axis=0) for e in demos.episodes], axis=0)
    return low.astype(np.float64), high.astype(np.float64)


def constant_columns(demos: Demonstrations, rows: Rows) -> list[int]:
    """Columns that scaling treats as constant: equal at every step up to float32's rounding."""
    low, high = extremes(demos, rows)
    return np.flatnonzero(is_constant((high - low) / 2, np.maximum(-low, high))).tolist()


def constants(reading: Reading, use: Use) -> list[Finding]:
    """Entries of actions and observations that never change."""
    demos = reading.demos
    found = []
    for name, rows in columns(demos):
        dims = constant_columns(demos, rows)
        if not dims:
            continue
        value = rows(demos.episodes[0])[0]
        which = ", ".join(f"{i} = {value[i]:.6g}" for i in dims[:8]) + (", ..." if len(dims) > 8 else "")
        every = len(dims) == len(value)
        if name == "actions" and every:
            found.append(
                error(
                    "constant-actions",
                    demos.source,
                    "no action ever changes: there is nothing to learn.",
                    "Record the commanded actions.",
                )
            )
        elif name == "actions":
            found.append(
                warning(
                    "constant-actions",
                    demos.source,
                    f"action entries never change: {which}.",
                    "This is fine if the robot does not use them: the policy repeats exactly these values.",
                )
            )
        else:
            text = "all entries never change" if every else f"entries never change: {which}"
            found.append(
                warning(
                    "constant-obs",
                    f"{name} in {demos.source}",
                    f"{text}.",
                    "Harmless if the task keeps them fixed; otherwise leave the key out.",
                )
            )
    return found


def outliers(reading: Reading, use: Use) -> list[Finding]:
    """A few values so large that scaling by them makes all others of their entry alike."""
    demos = reading.demos
    found = []
    for name, rows in columns(demos):
        if name == "actions" and use.action_norm == "none":
            continue
        low, high = extremes(demos, rows)
        sample = _sample(demos, rows)
        middle = np.median(sample, axis=0)
        inner = np.diff(np.quantile(sample, _INNER, axis=0), axis=0)[0]
        farthest = np.maximum(high - middle, middle - low)
        suspects = np.flatnonzero((inner > 0) & (farthest > _FLATTENED * inner))
        for dim in suspects.tolist():
            values = np.concatenate([rows(e)[:, dim] for e in demos.episodes]).astype(np.float64)
            far = np.abs(values - middle[dim]) > _FAR * farthest[dim]
            unit = farthest[dim] if name == "actions" else values.std()
            if unit > _FLATTENED * inner[dim] and far.sum() <= max(1, _FEW * len(values)):
                found.append(_outlier(demos, name, dim, values, far, inner[dim]))
    return found


def _outlier(demos: Demonstrations, name: str, dim: int, values: Array, far: Array, inner: float) -> Finding:
    row = int(np.argmax(np.abs(values - np.median(values))))
    starts = np.cumsum([0, *(len(e) for e in demos.episodes)])
    index = int(np.searchsorted(starts, row, side="right")) - 1
    place = f"{demos.episodes[index].name}, step {row - starts[index]}, {name} in {demos.source}"
    few = f"{int(far.sum())} such values" if far.sum() > 1 else "it"
    return warning(
        "outlier",
        place,
        f"entry {dim} is {values[row]:.4g} there, but spans {inner:.3g} at nine steps in "
        f"ten: scaled by {few}, all others look alike.",
        "Repair the value, or leave out the episode with a filter key.",
    )


def _sample(demos: Demonstrations, rows: Rows) -> Array:
    """At most about _ROWS rows of all episodes, float64."""
    stride = max(1, demos.num_transitions // _ROWS)
    return np.concatenate([rows(e)[::stride] for e in demos.episodes]).astype(np.float64)
