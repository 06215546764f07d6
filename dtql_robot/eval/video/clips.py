"""The one film loop: captioned episodes, one after the other or side by side, into an mp4."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.eval.video.labels import PAPER, WIDE, caption
from dtql_robot.eval.video.traces import Panels
from dtql_robot.system.files import new_file
from dtql_robot.types import Frame

CARD_SECONDS = 1.6
HOLD_SECONDS = 0.7


@dataclass(frozen=True)
class Clip:
    """One episode to show.

    title    first line of its caption
    about    beginning of the second one; the step follows
    steps    of the whole episode
    success  how it ended; None where that is not told
    frames   (step, frame), in order
    returned what it earned, shown where success is not told
    signals  for each frame, whether success was reached by then: the badge turns when it is.  Empty: not known
    notes    for each frame, a third line of the caption; empty: there is none
    panels   curves between the scene and its caption
    """

    title: str
    about: str
    steps: int
    success: bool | None
    frames: Sequence[tuple[int, Frame]]
    returned: float | None = None
    signals: Sequence[bool | None] = ()
    notes: Sequence[str] = ()
    panels: Panels | None = None

    def picture(self, i: int) -> Frame:
        """Captioned frame i; the last one where there are fewer."""
        i = min(i, len(self.frames) - 1)
        step, frame = self.frames[i]
        word = "step " if frame.shape[1] >= WIDE else ""
        detail = f"{self.about}   {word}{step}/{self.steps}"
        if self.panels is not None:
            frame = np.concatenate([frame, self.panels.at(step)])
        note = self.notes[i] if self.notes else None
        return caption(frame, title=self.title, detail=detail, note=note, **self._badge(i))

    def _badge(self, i: int) -> dict[str, Any]:
        """What the badge says at frame i: the verdict at the end, and before that only what is known by then."""
        if self.success is None:
            return {"success": None, **({} if self.returned is None else {"otherwise": f"RETURN {self.returned:.4g}"})}
        if not self.signals or i == len(self.frames) - 1:
            return {"success": self.success}
        return {"success": True} if self.signals[i] else {"success": None, "otherwise": "RUNNING"}


def write_clips(
    path: Path, fps: int, groups: Iterable[Sequence[Clip]], *, opening: Frame | None = None, columns: int = 1
) -> None:
    """Write a video, whole or not at all: one group of clips after the other, those of a group side by side.

    groups: taken one by one.  opening: a picture that is shown first for a moment.  columns: of a group's grid.
    """
    hold = round(HOLD_SECONDS * fps)
    with mp4_writer(path, fps) as writer:
        for _ in range(round(CARD_SECONDS * fps) if opening is not None else 0):
            writer.append_data(opening)
        for group in groups:
            for picture in _in_grid(group, columns, hold):
                writer.append_data(picture)


@contextlib.contextmanager
def mp4_writer(path: Path, fps: int) -> Any:
    """An H.264 writer (`append_data`) whose file appears at `path` only when it is complete."""
    import imageio.v2 as imageio

    with (
        new_file(path, overwrite=True, suffix=".mp4") as part,
        imageio.get_writer(
            part, fps=fps, codec="libx264", pixelformat="yuv420p", quality=7, macro_block_size=16
        ) as writer,
    ):
        yield writer


def grid_shape(count: int) -> tuple[int, int]:
    """(columns, rows) of the most nearly square grid."""
    columns = math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


def _in_grid(clips: Sequence[Clip], columns: int, hold: int) -> Iterator[Frame]:
    """All clips at once; those that end early stay on their last frame, and all on theirs for a moment."""
    if not clips:
        return
    longest = max(len(clip.frames) for clip in clips)
    for i in range(longest + hold):
        cells = [clip.picture(i) for clip in clips]
        cells += [np.full_like(cells[0], PAPER)] * (-len(cells) % columns)
        rows = [np.concatenate(cells[k : k + columns], axis=1) for k in range(0, len(cells), columns)]
        yield np.concatenate(rows)
