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
WIDE = 240  # pixels from which a caption has room for everything
INK, MUTED, PAPER = (240, 243, 248), (156, 167, 184), (20, 26, 38)
GREEN, RED = (22, 142, 72), (204, 42, 42)


@functools.cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _fit(draw: ImageDraw.ImageDraw, text: str, size: int, width: float) -> Any:
    """The largest font up to `size` in which `text` fits into `width` pixels."""
    while size > 8 and draw.textlength(text, font=_font(size)) > width:
        size -= 1
    return _font(size)


def caption(frame: Frame, *, title: str, detail: str, success: bool) -> Frame:
    """The frame (H, W, 3) above a strip with two lines and a badge: (H + STRIP, W, 3)."""
    from PIL import Image, ImageDraw

    height, width = frame.shape[:2]
    image = Image.new("RGB", (width, height + STRIP), PAPER)
    image.paste(Image.fromarray(frame), (0, 0))
    draw = ImageDraw.Draw(image)
    word, colour = ("SUCCESS", GREEN) if success else ("FAILURE", RED)
    wide = width >= WIDE
    badge, word_size, top, bottom = (88, 15, 11, 37) if wide else (62, 11, 4, 25)
    left = width - badge - 10
    draw.rounded_rectangle((left, height + top, width - 10, height + bottom), radius=6, fill=colour)
    draw.text((left + badge / 2, height + (top + bottom) / 2), word, font=_font(word_size), fill=INK, anchor="mm")
    room = left - 20
    draw.text((12, height + 16), title, font=_fit(draw, title, 15, room), fill=INK, anchor="lm")
    below = room if wide else width - 24  # where it is narrow, the badge leaves the second line free
    draw.text((12, height + 36 - 2 * wide), detail, font=_fit(draw, detail, 12, below), fill=MUTED, anchor="lm")
    return np.asarray(image)


def card(width: int, height: int, lines: Sequence[str]) -> Frame:
    """A title card (height + STRIP, width, 3): the first line large, the rest below it."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height + STRIP), PAPER)
    draw = ImageDraw.Draw(image)
    top = (height + STRIP) / 2 - 14 * len(lines)
    for i, line in enumerate(lines):
        font = _fit(draw, line, 24 if i == 0 else 15, width - 28)
        y = top + 28 * i + (10 if i else 0)
        draw.text((width / 2, y), line, font=font, fill=INK if i < 2 else MUTED, anchor="mm")
    return np.asarray(image)
