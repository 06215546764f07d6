"""What a results.json must hold to be shown, compared and reported."""

from __future__ import annotations

from typing import Any

from dtql_robot.system.json_shape import (
    between,
    list_of,
    number,
    object_of,
    optional,
    text,
    values_of,
    whole,
    yes_or_no,
)

EPISODE = object_of(
    {
        "seed": whole,
        "success": optional(yes_or_no),
        "return": number,
        "length": whole,
        "time_to_success": optional(whole),
    },
    {
        "ends_in_success": optional(yes_or_no),
        "subtasks": optional(values_of(yes_or_no)),
        "stages": optional(values_of(optional(whole))),
        "starts": optional(values_of(list_of(number, at_least=2, at_most=3))),
        "measure": optional(number),
        "error": optional(text),
    },
)
RESTART = object_of({"seed": whole, "reason": text})
RATE = between(0, 1)
SCALE = object_of({"ref_min_score": number, "ref_max_score": number, "measure": text, "source": text})
MEASURE = object_of({"name": text, "threshold": optional(number), "below": yes_or_no, "unit": text})
EVALUATION = object_of(
    {
        "env": text,
        "success_rate": optional(RATE),
        "ci95": optional(list_of(RATE, at_least=2, at_most=2)),
        "episodes": whole,
        "seed": whole,
        "mean_return": number,
        "mean_length": number,
        "policy_hz": between(1e-9, 1e12),
        "env_steps_per_s": number,
        "per_episode": list_of(EPISODE, at_least=1),
    },
    {
        "mean_time_to_success": optional(number),
        "success_at_end": optional(RATE),
        "subtask_success": optional(values_of(RATE)),
        "mean_subtasks": optional(number),
        "stages_reached": optional(values_of(RATE)),
        "return_ci95": optional(list_of(number, at_least=2, at_most=2)),
        "normalized_score": optional(number),
        "normalized_by": optional(SCALE),
        "restarts": optional(list_of(RESTART)),
        "versions": values_of(text),
        "video_note": optional(text),
        "clips": optional(values_of(text)),
        "measure": optional(MEASURE),
    },
)
"""The whole file."""


def evaluation(value: Any) -> str | None:
    """EVALUATION, whose rate and episodes tell success together or not at all."""
    if wrong := EVALUATION(value):
        return wrong
    told = {value["success_rate"] is None, value["ci95"] is None, *(e["success"] is None for e in value["per_episode"])}
    return None if len(told) == 1 else "reports success in some places but not in others"
