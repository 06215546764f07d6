"""Learning curves: one small panel per logged quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.errors import InputError
from dtql_robot.metrics import EVALUATED, Panel, panels

COLUMNS = 3
LINE, RAW = "#2563a8", "#b9cde4"
COLOURS = ((RAW, LINE), ("#f2cfae", "#c45a00"))  # blue and orange, which everybody can tell apart
FEW = 40
"""Points up to which a curve is drawn as it is."""


def _number(value: Any) -> float:
    """The value as a float; NaN for what is empty or not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def series(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """name -> (steps, finite values) for every numeric column but "step", in the order the columns first appear."""
    names = list(dict.fromkeys(key for row in rows for key in row if key is not None and key != "step"))
    steps = np.array([_number(row.get("step")) for row in rows])
    found = {}
    for name in names:
        values = np.array([_number(row.get(name)) for row in rows])
        real = np.isfinite(values) & np.isfinite(steps)
        if real.any():
            found[name] = (steps[real], values[real])
    return found


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over up to `window` neighbours centred on each point; fewer at the ends."""
    half = max(window // 2, 0)
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def plot_curves(
    metrics_rows: Sequence[Mapping[str, Any]], out_png: str | Path, settings: Mapping[str, Any] | None = None
) -> Path:
    """Draw every numeric column of a training log against its "step" column into a PNG.

    metrics_rows: one mapping per logged step, as csv.DictReader or JSON lines give them (numbers may be text).
    settings: of the run, which say what some columns are.
    The pale line is the value as logged, the dark one its moving average.
    """
    curves = series(metrics_rows)
    shown = panels(list(curves), settings or {})
    if not shown:
        raise InputError(
            f"There is no curve to draw: expected rows with 'step' and numbers, found {len(metrics_rows)} rows"
            f"{' with columns ' + ', '.join(map(str, metrics_rows[0])) if metrics_rows else ''}."
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(3.7 * columns, 2.35 * rows), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axis, panel in zip(axes, shown, strict=False):
        _draw(axis, panel, curves)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(shown) - columns) : len(shown)]:
        axis.set_xlabel("training step", fontsize=8, color="#555")
        axis.tick_params(labelbottom=True)
    out = Path(out_png)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, format="png")
    return out


def _draw(axis: Any, panel: Panel, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """One panel: few points as they are, many with their moving average."""
    if panel.band is not None:
        (steps, low), (_, high) = (curves[name] for name in panel.band)
        axis.fill_between(steps, low, high, color=RAW, alpha=0.5, linewidth=0)
    for (name, label), (pale, dark) in zip(panel.lines.items(), COLOURS, strict=False):
        steps, values = curves[name]
        few = len(values) < FEW
        if not few:
            axis.plot(steps, values, color=pale, linewidth=0.8)
        average = values if few else smooth(values, max(1, len(values) // 25))
        axis.plot(steps, average, color=dark, linewidth=1.6, marker="o" if few else None, markersize=3, label=label)
    if len(panel.lines) > 1:
        axis.legend(fontsize=7, frameon=False)
    if panel.band is None and len(panel.lines) == 1:
        _limit(axis, curves[next(iter(panel.lines))][1])
    if EVALUATED in panel.lines:
        axis.set_ylim(-0.03, 1.03)
    axis.set_title(panel.title, fontsize=9, loc="left", color="#222")
    axis.tick_params(labelsize=7, colors="#555")
    axis.ticklabel_format(style="sci", axis="x", scilimits=(-3, 5), useMathText=True)
    axis.xaxis.get_offset_text().set_fontsize(7)
    axis.yaxis.get_offset_text().set_fontsize(7)
    axis.grid(color="#eee", linewidth=0.8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color("#bbb")


def _limit(axis: Any, values: np.ndarray) -> None:
    """A vertical range that leaves out the first moments' spikes."""
    if len(values) >= 20:
        low, high = np.percentile(values, [0.5, 99])
        margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
        axis.set_ylim(low - margin, high + margin)
