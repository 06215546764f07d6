"""Pictures of where a policy looks: its camera images, enlarged, with keypoints or saliency drawn over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from dtql_robot.eval.video.labels import INK, PAPER
from dtql_robot.eval.video.spec import Overlay
from dtql_robot.types import Array, Frame, ImageObs, Obs

SHARP = 0.12  # of an image's width: keypoints that are spread over more are averages of many places, and not drawn
GLOW = (255, 120, 0)


class Looking(Protocol):
    """A policy that can tell where it looks (see `OneStepPolicy.attention`)."""

    image_obs: ImageObs | None

    def attention(self, obs: Obs, kind: Overlay) -> dict[str, Array]:
        """Where the policy looks in each image, as keypoints or saliency."""


def colours(count: int) -> list[tuple[int, int, int]]:
    """`count` colours that differ, round the circle of hues."""
    from colorsys import hsv_to_rgb

    made = [hsv_to_rgb(i / count, 0.9, 1.0) for i in range(count)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in made]


def draw_keypoints(image: Frame, points: Array, side: int) -> Frame:
    """The image at side x side pixels with a dot for each point that is sharp.  points: (K, 3) across, down, spread."""
    from PIL import Image, ImageDraw

    height, width = image.shape[:2]
    picture = Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    radius = max(2.0, side / 60)
    for (across, down, spread), colour in zip(points, colours(len(points)), strict=True):
        if spread <= SHARP * width:
            x, y = (across + 0.5) * side / width, (down + 0.5) * side / height
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=(0, 0, 0))
    return np.asarray(picture)


def draw_saliency(image: Frame, saliency: Array, side: int) -> Frame:
    """The image at side x side pixels, in grey where it does not matter and glowing where it does.

    saliency: (H, W) in [0, 1].  It is smoothed over a few pixels: single ones flicker.
    """
    from PIL import Image

    heat = _blur(_blur(saliency.astype(np.float32)))
    heat = (heat / max(float(heat.max()), 1e-9))[..., None]
    grey = image.astype(np.float32).mean(axis=2, keepdims=True) * 0.75
    mixed = (1 - 0.8 * heat) * grey + 0.8 * heat * np.array(GLOW, np.float32)
    return np.asarray(Image.fromarray(mixed.astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR))


def _blur(x: Array) -> Array:
    """The mean over 3 x 3 pixels."""
    padded = np.pad(x, 1, mode="edge")
    rows, columns = x.shape
    shifted = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return np.mean(shifted, axis=0)


def column_width(height: int, images: int) -> int:
    """Width of the column of images beside a scene of this height: a multiple of 16."""
    return max(32, height // max(2, images) // 16 * 16)


def beside(scene: Frame, policy: Looking, obs: Mapping[str, Any], kind: Overlay) -> Frame:
    """The scene, and right of it the policy's images one below the other with what it looks at.

    scene: (H, W, 3).  Returns (H, W + side, 3), the side a multiple of 16.
    """
    from PIL import Image, ImageDraw

    assert policy.image_obs is not None
    keys = list(policy.image_obs.shapes)
    side = column_width(scene.shape[0], len(keys))
    column = np.full((scene.shape[0], side, 3), PAPER, np.uint8)
    attention = policy.attention(obs, kind)
    for i, key in enumerate(keys[: scene.shape[0] // side]):
        image = np.asarray(obs[key]) if policy.image_obs.frames == 1 else np.asarray(obs[key])[-1]
        draw = draw_keypoints if kind == "keypoints" else draw_saliency
        picture = Image.fromarray(draw(image, attention[key], side))
        ImageDraw.Draw(picture).text((4, 2), key, fill=INK, stroke_width=1, stroke_fill=PAPER)
        column[i * side : (i + 1) * side] = np.asarray(picture)
    return np.concatenate([scene, column], axis=1)
