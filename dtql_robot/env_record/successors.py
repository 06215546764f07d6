"""Environments that no supported Python can make any more, and the ones that come closest to them.

Gymnasium's locomotion in versions 2 and 3 ran in mujoco-py; so did D4RL's tasks, whose names some files and users give.
Version 4 is the same model, reward and end of an episode in MuJoCo's own bindings.  Version 5 changed some of each
(Walker2d's feet, the reward of Hopper and Walker2d in a fallen state).  D4RL's mazes and kitchens are a family here.
"""

from __future__ import annotations

import re

from dtql_robot.env_record.d4rl_names import PREFIX, d4rl_task

_NAMES = {"halfcheetah": "HalfCheetah", "hopper": "Hopper", "walker2d": "Walker2d"}
_LEVELS = "random|medium|expert|medium-replay|full-replay|medium-expert"
_GYM = re.compile(rf"({'|'.join(_NAMES.values())})-v[23]")
_D4RL = re.compile(rf"({'|'.join(_NAMES)})-({_LEVELS})-v[0-2]")


def successor(spec: str) -> str | None:
    """The environment that stands for `spec`, with the observations composed of it; None where it is one itself."""
    base, plus, composed = spec.partition("+")
    if found := _GYM.fullmatch(base):
        return f"{found[1]}-v4{plus}{composed}"
    if found := _D4RL.fullmatch(base):
        return f"{_NAMES[found[1]]}-v4{plus}{composed}"
    if not base.startswith(PREFIX) and d4rl_task(base):
        return f"{PREFIX}{spec}"
    return None


def why(spec: str, instead: str) -> str:
    """The sentence for the user."""
    if instead == f"{PREFIX}{spec}":
        return f"{spec} is D4RL's: {instead} is used, the same task in today's MuJoCo."
    same = "the same model, reward and end of an episode under a newer MuJoCo"
    return f"{spec} needs mujoco-py, which no supported Python has; {instead} is used: {same}."
