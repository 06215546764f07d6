"""Learning curves: one small panel per logged quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.errors import InputError

COLUMNS = 3
LINE, RAW = "#2563a8", "#b9cde4"


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


def plot_curves(metrics_rows: Sequence[Mapping[str, Any]], out_png: str | Path) -> Path:
    """Draw every numeric column of a training log against its "step" column into a PNG.

    metrics_rows: one mapping per logged step, as csv.DictReader or JSON lines give them (numbers may be text).
    The pale line is the value as logged, the dark one its moving average.
    """
    curves = series(metrics_rows)
    if not curves:
        raise InputError(
            f"There is no curve to draw: expected rows with 'step' and numbers, found {len(metrics_rows)} rows"
            f"{' with columns ' + ', '.join(map(str, metrics_rows[0])) if metrics_rows else ''}."
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(3.7 * columns, 2.35 * rows), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for panel, (name, (steps, values)) in zip(panels, curves.items(), strict=False):
        _panel(panel, name, steps, values)
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(curves) - columns) : len(curves)]:
        panel.set_xlabel("training step", fontsize=8, color="#555")
        panel.tick_params(labelbottom=True)
    out = Path(out_png)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, format="png")
    return out


def _panel(panel: Any, name: str, steps: np.ndarray, values: np.ndarray) -> None:
    """One curve: as logged and smoothed; the vertical range leaves out the first moments' spikes."""
    average = smooth(values, max(1, len(values) // 25))
    panel.plot(steps, values, color=RAW, linewidth=0.8)
    panel.plot(steps, average, color=LINE, linewidth=1.6, marker="o" if len(values) == 1 else None)
    if len(values) >= 20:
        low, high = np.percentile(values, [0.5, 99])
        margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
        panel.set_ylim(low - margin, high + margin)
    panel.set_title(name, fontsize=9, loc="left", color="#222")
    panel.tick_params(labelsize=7, colors="#555")
    panel.ticklabel_format(style="sci", axis="x", scilimits=(-3, 5), useMathText=True)
    panel.xaxis.get_offset_text().set_fontsize(7)
    panel.yaxis.get_offset_text().set_fontsize(7)
    panel.grid(color="#eee", linewidth=0.8)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        panel.spines[side].set_color("#bbb")
