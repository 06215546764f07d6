"""Captions burnt into video frames: which episode this is, its seed, the step, and how it ended."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dtql_robot.types import Frame

if TYPE_CHECKING:
    from PIL import ImageDraw


STRIP = 48  # height of the caption below the picture; a multiple of 16 keeps the video's size one
NOTE = 16  # height of a third line in it
WIDE = 240  # pixels from which a caption has room for everything
INK, MUTED, PAPER = (240, 243, 248), (156, 167, 184), (20, 26, 38)
GREEN, RED, BLUE = (22, 142, 72), (204, 42, 42), (38, 92, 168)


def fitted(picture: Any, width: int, height: int) -> Frame:
    """What an environment drew, as (height, width, 3) uint8: it may be grey, transparent or of another size.

    ValueError for what is no picture.
    """
    from PIL import Image

    frame = np.asarray(picture)
    if frame.dtype.kind == "f" and frame.size and frame.min() >= 0.0 and frame.max() <= 1.0:
        frame = (255 * frame).round().astype(np.uint8)
    if frame.ndim == 2:
        frame = frame[..., None]
    if frame.ndim != 3 or frame.shape[2] not in (1, 3, 4) or frame.dtype != np.uint8 or not frame.size:
        raise ValueError(f"expected an image (height, width, 3) of type uint8, got {frame.shape} {frame.dtype}")
    frame = np.repeat(frame, 3, axis=2) if frame.shape[2] == 1 else frame[..., :3]
    if frame.shape == (height, width, 3):
        return frame
    scale = min(width / frame.shape[1], height / frame.shape[0])
    size = (max(1, round(scale * frame.shape[1])), max(1, round(scale * frame.shape[0])))
    whole = Image.new("RGB", (width, height), PAPER)
    whole.paste(
        Image.fromarray(np.ascontiguousarray(frame)).resize(size), ((width - size[0]) // 2, (height - size[1]) // 2)
    )
    return np.asarray(whole)


@functools.cache
def font(size: int) -> Any:
    """The font of every label."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _fit(draw: ImageDraw.ImageDraw, text: str, size: int, width: float) -> Any:
    """The largest font up to `size` in which `text` fits into `width` pixels."""
    while size > 8 and draw.textlength(text, font=font(size)) > width:
        size -= 1
    return font(size)


def caption(
    frame: Frame, *, title: str, detail: str, success: bool | None, otherwise: str = "UNJUDGED", note: str | None = None
) -> Frame:
    """The frame (H, W, 3) above a strip with two lines and a badge: (H + STRIP, W, 3).

    otherwise: what the badge says where there is no success to tell.  note: a third line, of NOTE pixels more.
    """
    from PIL import Image, ImageDraw

    height, width = frame.shape[:2]
    image = Image.new("RGB", (width, height + STRIP + (0 if note is None else NOTE)), PAPER)
    image.paste(Image.fromarray(frame), (0, 0))
    draw = ImageDraw.Draw(image)
    word, colour = {True: ("SUCCESS", GREEN), False: ("FAILURE", RED), None: (otherwise, BLUE)}[success]
    wide = width >= WIDE
    badge, word_size, top, bottom = (88, 15, 11, 37) if wide else (62, 11, 4, 25)
    left = width - badge - 10
    draw.rounded_rectangle((left, height + top, width - 10, height + bottom), radius=6, fill=colour)
    draw.text(
        (left + badge / 2, height + (top + bottom) / 2),
        word,
        font=_fit(draw, word, word_size, badge - 6),
        fill=INK,
        anchor="mm",
    )
    room = left - 20
    draw.text((12, height + 16), title, font=_fit(draw, title, 15, room), fill=INK, anchor="lm")
    below = room if wide else width - 24  # where it is narrow, the badge leaves the second line free
    draw.text((12, height + 36 - 2 * wide), detail, font=_fit(draw, detail, 12, below), fill=MUTED, anchor="lm")
    if note:
        draw.text((12, height + STRIP + 2), note, font=_fit(draw, note, 12, width - 24), fill=INK, anchor="lm")
    return np.asarray(image)


def card(width: int, height: int, lines: Sequence[str]) -> Frame:
    """A title card (height, width, 3): the first line large, the rest below it."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    top = height / 2 - 14 * len(lines)
    for i, line in enumerate(lines):
        fitting = _fit(draw, line, 24 if i == 0 else 15, width - 28)
        y = top + 28 * i + (10 if i else 0)
        draw.text((width / 2, y), line, font=fitting, fill=INK if i < 2 else MUTED, anchor="mm")
    return np.asarray(image)
