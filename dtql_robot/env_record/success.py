"""When an episode of an environment has succeeded, known without starting a simulator."""

from __future__ import annotations

import re
from typing import Literal

SuccessRule = Literal["last", "any"]

_GOAL_KEEPING = re.compile(r"^(Fetch|HandReach|HandManipulate)")
"""Goal-reaching tasks after HER: the goal must be held, so what counts is the last step."""


def success_rule(spec: str | None) -> SuccessRule:
    """ "last": an episode of `spec` succeeds if its last step does; "any": if any of its steps does."""
    return "last" if spec is not None and _GOAL_KEEPING.match(spec) else "any"
