"""Formats that other installed packages add: "NAME:PATH", where NAME is an entry point of `dtql_robot.datasets`.

The entry point is a function `read(path) -> Demonstrations`, most simply of `Demonstrations.from_arrays`.  It is called
for what a user names so, and never to find out what some file is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dtql_robot.datasets.formats.episode_checks import check_alike, check_episode
from dtql_robot.datasets.formats.reading import ObsArray, Reading, Request, choose, notes_on
from dtql_robot.datasets.published.names import SCHEMES
from dtql_robot.errors import InputError
from dtql_robot.system import plugins
from dtql_robot.types import Demonstrations, Episode


def split_plugin(data: str | Path) -> tuple[str, str] | None:
    """("csv", "logs/") for "csv:logs/" where an installed package adds the format csv; else None."""
    name, colon, where = str(data).partition(":")
    return (name, where) if colon and plugins.is_installed(plugins.DATASETS, name, SCHEMES) else None


def read(name: str, where: str, request: Request) -> Reading:
    """What the plugin `name` reads at `where`, with the observations that are asked for.

    InputError where it fails, or gives what no reader of this package may give.
    """
    if request.filter_key is not None or request.episode_length is not None:
        option = "--filter-key" if request.filter_key is not None else "--episode-length"
        raise InputError(f"{name}:{where} is read by a plugin, which has no {option}; leave it out.")
    demos = plugins.call(plugins.DATASETS, name, SCHEMES, Path(where).expanduser())
    by = f"The plugin {name!r} ({plugins.named(plugins.DATASETS, name)})"
    if not isinstance(demos, Demonstrations):
        raise InputError(
            f"{by} returned {type(demos).__name__}; expected Demonstrations, as of Demonstrations.from_arrays."
        )
    file = f"{name}:{where}"
    for episode in demos.episodes:
        check_episode(episode, file)
    check_alike(demos.episodes, file)
    first = demos.episodes[0].obs
    available = {k: ObsArray(v.shape, np.asarray(v).dtype) for k, v in first.items()}
    choice = choose(available, request.obs_keys, file)
    episodes = tuple(_chosen(e, choice.keys) for e in demos.episodes)
    episodes = tuple(map(request.keep, episodes)) if request.keep else episodes
    demos = replace(demos, episodes=episodes, source=file, format=name)
    return Reading(demos, notes_on(choice), choice.left_out, {}, choice.available)


def _chosen(episode: Episode, keys: tuple[str, ...]) -> Episode:
    final = None if episode.final_obs is None else {k: episode.final_obs[k] for k in keys}
    return replace(episode, obs={k: episode.obs[k] for k in keys}, final_obs=final)
