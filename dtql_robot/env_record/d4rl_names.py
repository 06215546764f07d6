"""D4RL's names of its ant mazes and kitchens, which stand for environments of their own ("d4rl:antmaze-umaze-v2").

Gymnasium's environments of the same tasks give other observations, starts and ends of episodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "d4rl:"
_MAZES = {"umaze": 700, "medium": 1000, "large": 1000}
_SAME = ("microwave", "kettle", "light switch", "slide cabinet")
_KITCHENS = {
    "complete": _SAME,
    "partial": _SAME,
    "mixed": ("microwave", "kettle", "bottom burner", "light switch"),
}
_NAME = re.compile(
    r"antmaze-(?P<maze>umaze)(-diverse)?-v[012]"
    r"|antmaze-(?P<larger>medium|large)-(play|diverse)-v[012]"
    rf"|kitchen-(?P<kitchen>{'|'.join(_KITCHENS)})-v0"
)
EXAMPLES = ("antmaze-umaze-v2", "antmaze-medium-play-v2", "antmaze-large-diverse-v2", "kitchen-complete-v0")


@dataclass(frozen=True)
class D4RLTask:
    """One environment of D4RL's.

    maze      "umaze", "medium" or "large"; None for a kitchen
    subtasks  what is to be done in a kitchen; empty for a maze
    horizon   steps of an episode
    """

    maze: str | None
    subtasks: tuple[str, ...]
    horizon: int


def d4rl_task(name: str) -> D4RLTask | None:
    """The environment of D4RL's name ("antmaze-umaze-v2", with "d4rl:" before it or not); None for any other name."""
    found = _NAME.fullmatch(name.removeprefix(PREFIX))
    if found is None:
        return None
    if found["kitchen"]:
        return D4RLTask(None, _KITCHENS[found["kitchen"]], 280)
    maze = found["maze"] or found["larger"]
    return D4RLTask(maze, (), _MAZES[maze])
