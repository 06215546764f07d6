"""What a report shows of single episodes: clips, where they start, and how far failures came."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIDE = 200
"""Width and height of a panel's picture, in its own units."""
LARGEST = 30_000_000
"""Bytes of all clips together that a page still holds."""


@dataclass(frozen=True)
class Mark:
    """One episode in a panel.  x, y: from 0 to SIDE, y downward."""

    number: int
    seed: int
    success: bool
    x: float
    y: float


@dataclass(frozen=True)
class Panel:
    """Marks in a plane, seen from above.  low, high: (x, y) of its corners, in metres; as far in both directions."""

    name: str
    marks: tuple[Mark, ...]
    low: tuple[float, float]
    high: tuple[float, float]


@dataclass(frozen=True)
class Ends:
    """How far from success episodes ended.  threshold: from 0 to SIDE; None where it is not known."""

    about: str
    marks: tuple[Mark, ...]
    low: float
    high: float
    threshold: float | None


def start_panels(episodes: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """A panel for each thing whose place differs between starts.  episodes: `per_episode` of results.json."""
    names = dict.fromkeys(name for episode in episodes for name in episode.get("starts") or {})
    panels = (_panel(name, episodes) for name in names)
    return [panel for panel in panels if panel is not None]


def _panel(name: str, episodes: Sequence[Mapping[str, Any]]) -> Panel | None:
    """None where it is always in one place."""
    placed = [(i, e, e["starts"][name]) for i, e in enumerate(episodes) if name in (e.get("starts") or {})]
    across, along = ([place[axis] for _, _, place in placed] for axis in (0, 1))
    spread = max(max(across) - min(across), max(along) - min(along))
    if not 1e-6 < spread < 1e9:
        return None
    half = 0.55 * spread
    middle = [(max(values) + min(values)) / 2 for values in (across, along)]
    low, high = (middle[0] - half, middle[1] - half), (middle[0] + half, middle[1] + half)
    scale = SIDE / (2 * half)
    marks = tuple(
        Mark(i + 1, e["seed"], bool(e["success"]), (place[0] - low[0]) * scale, SIDE - (place[1] - low[1]) * scale)
        for i, e, place in placed
    )
    return Panel(name, marks, low, high)


def ends(episodes: Sequence[Mapping[str, Any]], measure: Mapping[str, Any] | None) -> Ends | None:
    """The number that decides success after the last step of every episode; None where it is not told.

    measure: the entry of results.json.
    """
    told = [(i, e) for i, e in enumerate(episodes) if e.get("measure") is not None]
    if measure is None or not told:
        return None
    threshold = measure["threshold"]
    values = [e["measure"] for _, e in told]
    bounds = [*values, *([] if threshold is None else [threshold])]
    low, high = min(bounds), max(bounds)
    if measure["below"] and low >= 0:
        low = 0.0
    scale = 2 * SIDE / ((high - low) or 1.0)
    marks = tuple(
        Mark(i + 1, e["seed"], bool(e["success"]), (e["measure"] - low) * scale, 14 + 9 * (i % 5)) for i, e in told
    )
    unit = f" ({measure['unit']})" if measure["unit"] else ""
    side = "below" if measure["below"] else "above"
    wanted = "" if threshold is None else f"; success is {side} {threshold:g}"
    line = None if threshold is None else (threshold - low) * scale
    return Ends(f"{measure['name']} after the last step{unit}{wanted}", marks, low, high, line)


def subtasks_of_failures(episodes: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """(part of the task, failed episodes that did it, failed episodes), where the environment tells parts."""
    failed = [e["subtasks"] for e in episodes if not e["success"] and e.get("subtasks")]
    names = dict.fromkeys(name for parts in failed for name in parts)
    return [(name, sum(bool(parts.get(name)) for parts in failed), len(failed)) for name in names]


def stage_counts(episodes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    """Stage -> (failed episodes that came as far, of how many), and the same of successful ones; in order."""
    told = [(e["stages"], bool(e["success"])) for e in episodes if e.get("stages")]
    parts = [[stages for stages, won in told if won == wanted] for wanted in (False, True)]
    names = dict.fromkeys(name for stages, _ in told for name in stages)

    def count(part: Sequence[Mapping[str, Any]], name: str) -> tuple[int, int]:
        return sum(stages.get(name) is not None for stages in part), len(part)

    return {name: (count(parts[0], name), count(parts[1], name)) for name in names}


def embedded(clips: Mapping[int, Path]) -> dict[str, str]:
    """Seed -> the clip as a data: URI, of as many as fit into a page."""
    found: dict[str, str] = {}
    left = LARGEST
    for seed, path in clips.items():
        content = path.read_bytes()
        left -= len(content)
        if left >= 0:
            found[str(seed)] = f"data:video/mp4;base64,{base64.b64encode(content).decode('ascii')}"
    return found
