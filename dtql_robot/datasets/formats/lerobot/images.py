"""Pictures that are kept as PNG or JPEG files inside the table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.episode_checks import Place
from dtql_robot.datasets.formats.lerobot.folder import FETCH
from dtql_robot.system.cores import usable_cores
from dtql_robot.types import Array

_FORMATS = ("PNG", "JPEG", "WEBP")


def decode_into(out: Array, stored: Sequence[Any], key: str, place: Place) -> None:
    """Fill `out` (T, H, W, C) with T stored pictures, {"bytes": ..., "path": ...}.  InputError with step and key."""

    def decode(step: int) -> None:
        out[step] = _decoded(stored[step], out.shape[1:], f"{key!r} at step {step}", place)

    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(decode, range(len(out))))


def _decoded(stored: Any, shape: tuple[int, ...], label: str, place: Place) -> Array:
    from PIL import Image

    content = stored.get("bytes") if isinstance(stored, dict) else stored
    if not isinstance(content, bytes):
        raise place.error(f"{label} contains no image (only a file name)", FETCH)
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if (image.height, image.width) != shape[:2]:
                raise place.error(
                    f"{label} is {image.height} x {image.width} pixels instead of {shape[0]} x {shape[1]}"
                )
            array = np.asarray(image.convert("L" if shape[2] == 1 else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if hasattr(error, "as_option"):
            raise
        raise place.error(f"{label} cannot be decoded ({' '.join(str(error).split())[:100]})", FETCH) from error
    return array.reshape(shape)


def encoded(image: Array) -> bytes:
    """PNG of (H, W, 1 or 3) uint8, without loss."""
    from PIL import Image

    content = io.BytesIO()
    plain = image[..., 0] if image.shape[-1] == 1 else image
    Image.fromarray(plain).save(content, "PNG", compress_level=1)
    return content.getvalue()
