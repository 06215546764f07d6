"""The action space that a Minari dataset records: only continuous actions are learnt."""

from __future__ import annotations

from typing import Any

from dtql_robot.errors import InputError
from dtql_robot.system.json_text import parse_json


def check_actions(recorded: Any, file: str) -> None:
    """InputError unless the recorded space (JSON, an object or None where there is none) is a Box of floats."""
    space = recorded
    if isinstance(recorded, str):
        try:
            space = parse_json(recorded)
        except ValueError as error:
            raise InputError(f"'action_space' of {file} is not JSON ({error}).") from error
    if not isinstance(space, dict) or not isinstance(space.get("type"), str):
        return  # not told: the actions themselves are looked at
    kind, dtype = space["type"], str(space.get("dtype", "float32"))
    if kind == "Box" and "int" not in dtype and "bool" not in dtype:
        return
    found = f"a Box of whole numbers ({dtype})" if kind == "Box" else kind
    raise InputError(
        f"{file} records the action space {found}; only continuous actions (a Box of floats) are "
        "supported. Use a dataset of continuous actions."
    )
