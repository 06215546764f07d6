"""Results as a notebook shows them: words, and videos that play in place."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

LARGEST = 20_000_000
"""Bytes of a video that is still put into the notebook itself."""


def shown(text: str, videos: Sequence[Path] = ()) -> str:
    """HTML of the text and of the videos that are there."""
    parts = [f"<pre>{html.escape(text)}</pre>"]
    for path in videos:
        if path.is_file() and path.stat().st_size <= LARGEST:
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            source = f"data:video/mp4;base64,{data}"
            parts.append(f'<video controls loop muted style="max-width: 100%" src="{source}"></video>')
    return "".join(parts)
