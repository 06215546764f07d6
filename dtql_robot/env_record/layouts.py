"""What the numbers of a well-known observation are, told by how many there are."""

from __future__ import annotations

import re
from collections.abc import Mapping

_ANT = "13 joint positions and 14 velocities of the ant, without its place"
_WORDS: tuple[tuple[str, Mapping[int, str]], ...] = (
    (
        r"(AntMaze_|antmaze-|d4rl:antmaze-).*",
        {
            27: _ANT,
            29: "place, 13 joint positions and 14 velocities of the ant, as in D4RL's files",
            31: "place, joint positions and velocities of the ant, and the goal",
            105: f"{_ANT}, and 78 contact forces",
            107: "place, joint positions, velocities and contact forces of the ant",
        },
    ),
    (
        r"(FrankaKitchen|kitchen-|d4rl:kitchen-).*",
        {
            30: "positions of 9 joints and 21 object joints",
            59: "positions and velocities of 9 joints and of the objects, as FrankaKitchen-v1 gives them",
            60: "positions of 9 joints and 21 object joints, and the goals for them, as in D4RL's files",
        },
    ),
    (r"Hopper.*", {11: "without the place along the way", 12: "with the place along the way"}),
    (r"(HalfCheetah|Walker2d).*", {17: "without the place along the way", 18: "with the place along the way"}),
    (
        r"Ant-.*",
        {27: _ANT, 105: f"{_ANT}, and 78 contact forces", 111: f"{_ANT}, and 84 contact forces, as in version 3"},
    ),
)
_INSTEAD = {
    29: ("antmaze|AntMaze", "D4RL's mazes are --env d4rl:antmaze-umaze-v2 and the like."),
    60: ("kitchen|Kitchen", "D4RL's kitchens are --env d4rl:kitchen-complete-v0 and the like."),
    59: ("kitchen|Kitchen", "These are FrankaKitchen-v1's."),
}


def words_of(spec: str, shape: tuple[int, ...]) -> str:
    """ " (place, 13 joint positions ...)" for the observation of an environment that is known; else ""."""
    base = spec.partition("+")[0]
    table = next((words for pattern, words in _WORDS if re.fullmatch(pattern, base)), {})
    found = table.get(shape[0]) if len(shape) == 1 else None
    return f" ({found})" if found else ""


def environment_with(spec: str, shape: tuple[int, ...]) -> str | None:
    """Which environment has observations of this shape, in a sentence, where it is known: for data that fits not."""
    pattern, sentence = _INSTEAD.get(shape[0] if len(shape) == 1 else -1, ("$^", ""))
    return sentence if re.search(pattern, spec) else None
