"""Reading a video back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def read_video(path: Path) -> tuple[list[np.ndarray], float]:
    """(every frame, frames per second of the file)."""
    import imageio.v2 as imageio

    reader: Any
    with imageio.get_reader(path) as reader:
        return [np.asarray(frame) for frame in reader], float(reader.get_meta_data()["fps"])
