"""Observations that a data set composed from others, served under the data set's own name.

A spec may end in recipes: "robosuite:Lift+state=robot0_proprio-state@1.5.2,object-state" gives the observation
"state", which is the named observations side by side, in this order.  Parts are observation keys of the environment;
"key[0:3]" are entries 0 to 2 of it; "-key" is its negative; "key@version" is what `key` held in another version of the
simulator, where the family knows.  Several recipes follow each other: "spec+a=x,y+b=z".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dtql_robot.envs.info import EnvInfo
from dtql_robot.errors import InputError
from dtql_robot.types import Array

SLICE = re.compile(r"(.+)\[(\d*):(\d*)\]")
Recipes = Mapping[str, Sequence[str]]
Expand = Callable[[str], Sequence[str]]


def split_recipes(spec: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """("robosuite:Lift", {"state": ("cube_pos", "cube_quat")}) for "robosuite:Lift+state=cube_pos,cube_quat"."""
    base, *texts = spec.split("+")
    recipes: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, equals, parts = text.partition("=")
        names = tuple(part.strip() for part in parts.split(","))
        if not equals or not key or not all(names):
            raise InputError(f"{spec}: expected '+name=key,key,...' after the environment, found '+{text}'.")
        recipes[key] = names
    return base, recipes


def compose(obs: Mapping[str, Array], parts: Sequence[str]) -> Array:
    """The parts of one observation side by side: (sum of their sizes,) float32.  "-key" is negated."""
    rows = []
    for part in parts:
        sign, key, entries = parse_part(part)
        rows.append(sign * np.ravel(obs[key])[entries])
    return np.concatenate(rows).astype(np.float32)


def parse_part(part: str) -> tuple[int, str, slice]:
    """(1 or -1, key, which of its entries) of one part of a recipe: (-1, "pose", slice(0, 3)) for "-pose[0:3]"."""
    name = part.removeprefix("-")
    found = SLICE.fullmatch(name)
    sign = -1 if part.startswith("-") else 1
    if found is None:
        return sign, name, slice(None)
    first, last = (int(number) if number else None for number in found.group(2, 3))
    return sign, found.group(1), slice(first, last)


class ComposedObs(gymnasium.Wrapper):
    """The environment with one further observation per recipe.  `expand` turns "key@version" into plain parts."""

    def __init__(self, env: gymnasium.Env, spec: str, recipes: Recipes, expand: Expand) -> None:
        super().__init__(env)
        facts: EnvInfo = env.get_wrapper_attr("facts")
        self._recipes = {key: [p for part in parts for p in expand(part)] for key, parts in recipes.items()}
        shapes = dict(facts.obs_shapes)
        for key, parts in self._recipes.items():
            shapes[key] = (_size(spec, parts, facts.obs_shapes),)
        self.facts = replace(facts, spec=spec, obs_shapes=shapes)
        boxes = {key: spaces.Box(-np.inf, np.inf, shapes[key], np.float32) for key in self._recipes}
        assert isinstance(env.observation_space, spaces.Dict)
        self.observation_space = spaces.Dict({**env.observation_space.spaces, **boxes})

    def _add(self, obs: dict[str, Any]) -> dict[str, Any]:
        return {**obs, **{key: compose(obs, parts) for key, parts in self._recipes.items()}}

    def reset(self, **kwargs: Any) -> tuple[dict, dict]:
        """As the environment's, with the composed observations."""
        obs, info = self.env.reset(**kwargs)
        return self._add(obs), info

    def step(self, action: Any) -> tuple[dict, Any, bool, bool, dict]:
        """As the environment's, with the composed observations."""
        obs, *rest = self.env.step(action)
        return (self._add(obs), *rest)  # type: ignore[return-value]


def _size(spec: str, parts: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> int:
    size = 0
    for part in parts:
        _, key, entries = parse_part(part)
        if key not in shapes:
            raise InputError(f"{spec}: there is no observation {key!r}; the environment gives {', '.join(shapes)}.")
        length = int(np.prod(shapes[key]))
        chosen = len(range(length)[entries])
        if not chosen or (entries.stop or 0) > length:
            raise InputError(f"{spec}: {part!r} is outside {key!r}, which has {length} entries.")
        size += chosen
    return size
