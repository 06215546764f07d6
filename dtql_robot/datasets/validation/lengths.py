"""How long the demonstrations take, against how long the environment lets a policy try."""

from __future__ import annotations

import math

import numpy as np

from dtql_robot.types import Demonstrations

_SOME = 0.1  # share of the demonstrations that must be too long before anything is said
_MARGIN = 1.2  # what a policy may take longer than the slowest demonstration


def lengths_warning(demos: Demonstrations, horizon: int | None, env: str | None = None) -> str | None:
    """One sentence where demonstrations take longer than an environment that stops after `horizon` steps; else None.

    What counts is the first success of each episode that succeeds; without a success signal, its length.
    Recordings that go on after the task is done come upon it sooner or later, which says nothing of a policy's pace.
    horizon: None where the environment has no limit.  env: its name, for the sentence.
    """
    if any(e.masks is not None for e in demos.episodes):
        return None
    won = [e for e in demos.episodes if e.success is not None and e.succeeds]
    labelled = any(e.success is not None for e in demos.episodes)
    if horizon is None or (labelled and not won):
        return None
    steps = np.array(
        [int(np.argmax(e.success)) + 1 for e in won if e.success is not None] or [*map(len, demos.episodes)]
    )
    late = steps[steps > horizon]
    if len(late) < max(1, _SOME * len(steps)):
        return None
    enough = 50 * math.ceil(_MARGIN * int(late.max()) / 50)
    what = "first succeed" if won else "end"
    return (
        f"{len(late)} of {len(steps)} demonstrations {what} after the {horizon} steps that "
        f"{env or 'the environment'} allows (at steps {late.min()} to {late.max()}): a policy as slow as they are "
        f"fails there. Evaluate with --max-episode-steps {enough}."
    )
