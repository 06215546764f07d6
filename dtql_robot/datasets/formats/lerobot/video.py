"""Frames of an mp4 by their times, in order, decoded once.  Needs PyAV (the package `av`)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.lerobot.folder import FETCH
from dtql_robot.datasets.formats.lerobot.table import INSTALL
from dtql_robot.errors import InputError
from dtql_robot.types import Array

TOLERANCE = 1e-4
"""Seconds that a frame may lie from the time that its row names, as in LeRobot; rounding comes on top."""
_SKIP = 2.0  # seconds up to which frames are decoded and dropped rather than sought past
_CONTAINERS = ((4, b"ftyp", "mov"), (0, b"\x1a\x45\xdf\xa3", "matroska"), (0, b"RIFF", "avi"))


def pyav() -> Any:
    """The package.  InputError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise InputError(f"The videos of LeRobot data sets need PyAV: {INSTALL}.") from error
    return av


def _container(path: Path) -> str:
    """FFmpeg's name of the container; never a playlist, which would make FFmpeg open other files."""
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error
    for offset, mark, name in _CONTAINERS:
        if head[offset:].startswith(mark):
            return name
    raise InputError(f"{path} is not an mp4 video ({len(head) and head[:8]!r}). {FETCH}")


class Video:
    """One opened video.  Frames are read forwards; going back seeks to the key frame before."""

    def __init__(self, path: Path, shown: str) -> None:
        """shown: what messages call the file."""
        self.shown = shown
        name = _container(path)
        self._av = pyav()
        with self._reading():
            self._file = self._av.open(str(path), format=name)
            if not self._file.streams.video:
                raise InputError(f"{shown} contains no video. {FETCH}")
            self._stream = self._file.streams.video[0]
            self._stream.thread_type = "AUTO"
            self._stream.codec_context.options = {"err_detect": "explode"}
            self.size: tuple[int, int] = (self._stream.height, self._stream.width)
            self._step = float(self._stream.time_base or 0)
        self._frames = self._decode()
        self._position = 0.0  # seconds: no frame before it is to come

    def close(self) -> None:
        """Let go of the file."""
        self._frames.close()
        self._file.close()

    def read(self, times: Array, out: Array) -> None:
        """Fill `out` (T, H, W, 3 or 1) with the frames at `times` (T,), ascending seconds.

        InputError where the video ends before, or has no frame at such a time.
        """
        tolerance = TOLERANCE + self._step + float(times[-1]) * float(np.finfo(np.float32).eps)
        if not self._position - tolerance <= times[0] <= self._position + _SKIP:
            self._seek(float(times[0]))
        filled = 0
        gray = out.shape[-1] == 1
        for time, frame in self._frames:
            self._position = time
            if time < times[filled] - tolerance:
                continue
            image = None
            while filled < len(times) and abs(times[filled] - time) <= tolerance:
                if image is None:
                    image = frame.to_ndarray(format="rgb24")
                out[filled] = image[..., :1] if gray else image
                filled += 1
            if filled == len(times):
                return
            if times[filled] < time - tolerance:
                raise InputError(
                    f"{self.shown} has no frame at {times[filled]:.4f} s, where step {filled} of the episode lies: the "
                    f"next is at {time:.4f} s, more than {tolerance:.1g} s away. Frames are missing, or fps in "
                    f"meta/info.json is wrong. {FETCH}"
                )
        raise InputError(
            f"{self.shown} ends after {filled} of the episode's {len(times)} frames: it was cut short, or belongs to "
            f"another episode. {FETCH}"
        )

    def count_more(self) -> int:
        """How many frames come after the last one read."""
        return sum(1 for _ in self._frames)

    def _seek(self, time: float) -> None:
        with self._reading():
            self._frames.close()
            self._file.seek(max(0, int(time / self._step) if self._step else 0), stream=self._stream, backward=True)
        self._frames = self._decode()

    def _decode(self) -> Generator[tuple[float, Any], None, None]:
        with self._reading():
            for frame in self._file.decode(self._stream):
                if frame.is_corrupt:
                    raise InputError(f"{self.shown} is damaged at {frame.time or 0:.2f} s. {FETCH}")
                if (frame.height, frame.width) != self.size:
                    raise InputError(f"{self.shown} changes its size to {frame.height} x {frame.width}. {FETCH}")
                yield float(frame.time or 0.0), frame

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except (self._av.error.FFmpegError, OSError, ValueError, MemoryError, IndexError) as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
            raise InputError(
                f"{self.shown} cannot be decoded ({reason}): it is damaged or cut short. {FETCH}"
            ) from error
