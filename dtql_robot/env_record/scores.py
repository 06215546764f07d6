"""The returns that a data set says count as 0 and as 100 in its environment (Minari's reference scores)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def recorded_scores(attrs: Mapping[str, Any]) -> tuple[float, float] | None:
    """(`ref_min_score`, `ref_max_score`) among a data set's attributes; None where no two numbers make a scale."""
    found = [attrs.get(key) for key in ("ref_min_score", "ref_max_score")]
    numbers = [float(v) for v in found if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < 2 or not all(map(math.isfinite, numbers)) or numbers[0] >= numbers[1]:
        return None
    return numbers[0], numbers[1]
