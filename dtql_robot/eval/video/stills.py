"""Pictures for a README, taken from a finished video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.types import Frame


def read_video(path: Path, stride: int = 1) -> tuple[list[Frame], float]:
    """(every `stride`-th frame, frames per second of the file)."""
    import imageio.v2 as imageio

    reader: Any
    with imageio.get_reader(path) as reader:
        fps = float(reader.get_meta_data()["fps"])
        return [np.asarray(frame) for i, frame in enumerate(reader) if i % stride == 0], fps


def write_sheet(video: Path, out: Path, *, columns: int = 5, rows: int = 2) -> Path:
    """A PNG of `rows` x `columns` frames evenly spaced through the video."""
    from PIL import Image

    frames, _ = read_video(video)
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, columns * rows).round().astype(int)]
    lines = [np.concatenate(chosen[r * columns : (r + 1) * columns], axis=1) for r in range(rows)]
    Image.fromarray(np.concatenate(lines)).save(out, optimize=True)
    return out


def write_gif(video: Path, out: Path, *, width: int = 208, seconds: float = 10.0, fps: int = 10) -> Path:
    """An animated GIF of the video's first `seconds`, small enough for a README."""
    from PIL import Image

    frames, video_fps = read_video(video)
    stride = max(1, round(video_fps / fps))
    shown = frames[: round(seconds * video_fps) : stride]
    height = round(shown[0].shape[0] * width / shown[0].shape[1])
    images = [Image.fromarray(f).resize((width, height)).quantize(64) for f in shown]
    duration = round(1000 * stride / video_fps)
    images[0].save(out, save_all=True, append_images=images[1:], duration=duration, loop=0, optimize=True)
    return out
