"""Frames into an mp4 (H.264), which loses a little of them.  Needs PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.lerobot.video import pyav
from dtql_robot.types import Array

_OPTIONS = {"crf": "18", "preset": "veryfast", "g": "2", "bf": "0"}
"""A key frame every second frame, as LeRobot has it, since training reads frames at random."""


class VideoWriter:
    """One mp4, to which episodes are added one after the other.  frames: how many are in it."""

    def __init__(self, path: Path, fps: float, height: int, width: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.frames = path, 0
        self._av = pyav()
        self._file = self._av.open(str(path), "w", format="mp4")
        self._stream: Any = self._file.add_stream("libx264", Fraction(fps).limit_denominator(1001), options=_OPTIONS)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"  # the latter halves both

    def write(self, frames: Array) -> None:
        """Add (T, H, W, 1 or 3) uint8."""
        for image in np.broadcast_to(frames, (*frames.shape[:3], 3)):
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            self._file.mux(self._stream.encode(frame))
        self.frames += len(frames)

    def close(self) -> dict[str, Any]:
        """Finish the file; what info.json says of it."""
        self._file.mux(self._stream.encode(None))
        described = {
            "video.height": self._stream.height,
            "video.width": self._stream.width,
            "video.codec": "h264",
            "video.pix_fmt": self._stream.pix_fmt,
            "video.is_depth_map": False,
            "video.fps": float(self._stream.average_rate or 0),
            "video.channels": 3,
            "has_audio": False,
        }
        self._file.close()
        return described
