"""Observations that a data set composed from others, served under the data set's own name.

A spec may end in recipes: "robosuite:Lift+state=robot0_proprio-state@1.5.2,object-state" gives the observation
"state", which is the named observations side by side, in this order.  Parts are observation keys of the environment;
"-key" is its negative; "key@version" is what `key` held in another version of the simulator, where the family knows.
Several recipes follow each other: "spec+a=x,y+b=z".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dtql_robot.envs.info import EnvInfo
from dtql_robot.errors import InputError
from dtql_robot.types import Array

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
    rows = [-np.ravel(obs[p[1:]]) if p.startswith("-") else np.ravel(obs[p]) for p in parts]
    return np.concatenate(rows).astype(np.float32)


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
        obs, info = self.env.reset(**kwargs)
        return self._add(obs), info

    def step(self, action: Any) -> tuple[dict, Any, bool, bool, dict]:
        obs, *rest = self.env.step(action)
        return (self._add(obs), *rest)  # type: ignore[return-value]


def _size(spec: str, parts: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> int:
    size = 0
    for part in parts:
        key = part.removeprefix("-")
        if key not in shapes:
            raise InputError(f"{spec}: there is no observation {key!r}; the environment gives {', '.join(shapes)}.")
        size += int(np.prod(shapes[key]))
    return size
