"""Curves below the scene: what the policy did and what its critic thought of it, up to the step that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.eval.video.labels import INK, MUTED, PAPER, font
from dtql_robot.types import Array, Frame

HEIGHT = 64  # of one panel; a multiple of 16
TOP = 17  # of the curves in it, below its title
COLOURS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (204, 121, 167), (213, 94, 0), (0, 114, 178))
"""Okabe and Ito's, which everybody can tell apart, the brightest first: the ground is dark."""


@dataclass(frozen=True)
class Trace:
    """K curves over the steps of an episode.

    steps   (N,) when each value was so, rising
    values  (N, K)
    """

    title: str
    steps: Array
    values: Array


class Panels:
    """Traces one below the other, each with a range of its own."""

    def __init__(self, traces: Sequence[Trace], length: int, width: int) -> None:
        """length: steps of the episode, which are as wide as the picture."""
        self._traces, self._width = traces, width
        self._across = width / max(1, length)
        self._points = [_points(trace, length, self._across) for trace in traces]

    def at(self, step: int) -> Frame:
        """The panels at a step: (HEIGHT x traces, width, 3).

        What has been is bright, what is to come is faint, so that the eye finds the moment.
        """
        shown = zip(self._traces, self._points, strict=True)
        return np.concatenate([self._panel(trace, points, step) for trace, points in shown])

    def _panel(self, trace: Trace, points: Sequence[Array], step: int) -> Frame:
        from PIL import Image, ImageDraw

        image = Image.new("RGB", (self._width, HEIGHT), PAPER)
        draw = ImageDraw.Draw(image)
        now = step * self._across
        for k, curve in enumerate(points):
            bright, corners = COLOURS[k % len(COLOURS)], [(x, y) for x, y in curve.tolist()]
            draw.line(corners, fill=_faint(bright), width=1)
            draw.line(corners[: int(np.searchsorted(curve[:, 0], now, side="right"))], fill=bright, width=2)
        draw.line([(now, TOP - 3), (now, HEIGHT)], fill=MUTED, width=1)
        self._title(draw, trace, step)
        return np.asarray(image)

    def _title(self, draw: Any, trace: Trace, step: int) -> None:
        """Its name, and the value now; of several curves the number of each in its colour."""
        draw.text((8, 8), trace.title, font=font(11), fill=INK, anchor="lm")
        count, right = trace.values.shape[1], self._width - 8
        if count == 1:
            last = max(0, int(np.searchsorted(trace.steps, step, side="right")) - 1)
            draw.text((right, 8), f"{float(trace.values[last, 0]):.3g}", font=font(11), fill=COLOURS[0], anchor="rm")
        elif count <= len(COLOURS):  # with more, as of a hand, no colour is one entry's own
            for k in range(count):
                place = (right - 12 * (count - 1 - k), 8)
                draw.text(place, str(k), font=font(11), fill=COLOURS[k], anchor="rm")


def _points(trace: Trace, length: int, across: float) -> list[Array]:
    """The corners of each curve in pixels, (corners, 2): a value holds until the next one."""
    steps = np.stack([trace.steps, np.append(trace.steps[1:], length)], axis=1).ravel()
    values = np.repeat(trace.values, 2, axis=0)
    low, high = float(values.min()), float(values.max())
    down = TOP + (HEIGHT - TOP - 4) * (1 - (values - low) / (high - low or 1.0))
    return [np.stack([steps * across, column], axis=1) for column in down.T]


def _faint(colour: Sequence[int]) -> tuple[int, ...]:
    return tuple(round(0.35 * c + 0.65 * p) for c, p in zip(colour, PAPER, strict=True))
