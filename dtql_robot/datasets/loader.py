"""One way in for every format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dtql_robot.datasets.cache import read_through
from dtql_robot.datasets.combine import combine, split_sources
from dtql_robot.datasets.detect import detect
from dtql_robot.datasets.formats import d4rl_read as d4rl
from dtql_robot.datasets.formats import minari_read as minari_h5
from dtql_robot.datasets.formats import robomimic_read as robomimic
from dtql_robot.datasets.formats.hdf5 import check_is_hdf5, open_file
from dtql_robot.datasets.formats.location import resolve
from dtql_robot.datasets.formats.reading import Keep, Reading, Request
from dtql_robot.datasets.success import success_from_reward
from dtql_robot.types import Demonstrations

_ADAPTERS: dict[str, Callable[..., Reading]] = {
    "robomimic": robomimic.read,
    "minari": minari_h5.read,
    "d4rl": d4rl.read,
}


def load(
    data: str | Path,
    *,
    obs_keys: Sequence[str] | None = None,
    filter_key: str | None = None,
    success_reward: float | None = None,
) -> Demonstrations:
    """Read demonstrations into memory.

    data            robomimic HDF5, Minari folder or main_data.hdf5, D4RL HDF5, or minari:NAMESPACE/ID; several,
                    separated by commas, are joined
    obs_keys        observations to load, in this order; None: every low-dimensional one, no images
    filter_key      subset of a robomimic file ("train", "valid", ...); None: all episodes
    success_reward  a step counts as a success where its reward is at least this; None: the source's own signal

    Actions, rewards and low-dimensional observations are float32, images uint8.
    Raises InputError, with cause, place and remedy, for anything that is not such a dataset.
    """
    return read_source(data, obs_keys=obs_keys, filter_key=filter_key, success_reward=success_reward).demos


def read_source(
    data: str | Path,
    *,
    obs_keys: Sequence[str] | None = None,
    filter_key: str | None = None,
    success_reward: float | None = None,
    problems: list[str] | None = None,
    cached: bool = True,
) -> Reading:
    """As `load`, with the notes that `inspect` shows.

    problems: where given, a bad episode of a robomimic or Minari file becomes a sentence there instead of an InputError
    (unless none is good), so that `validate` finds all of them.
    cached: large files are read from a packed copy, see dtql_robot.datasets.cache.
    """
    sources = split_sources(data)
    parts = [_read(source, obs_keys, filter_key, problems, cached) for source in sources]
    reading = parts[0] if len(parts) == 1 else combine(parts, sources)
    demos = replace(reading.demos, source=str(data))
    if success_reward is None:
        return replace(reading, demos=demos)
    note = f"success: a reward of at least {success_reward:g} (success_reward)."
    return replace(reading, demos=success_from_reward(demos, success_reward), notes=(*reading.notes, note))


def _read(
    data: str | Path,
    obs_keys: Sequence[str] | None,
    filter_key: str | None,
    problems: list[str] | None,
    cached: bool,
) -> Reading:
    path = resolve(data)

    def read(keep: Keep | None) -> Reading:
        with open_file(path) as file:
            return _ADAPTERS[detect(file)](file, Request(obs_keys, filter_key, problems, keep))

    if problems is not None or not cached:
        return read(None)
    check_is_hdf5(path)
    keys = None if obs_keys is None else list(obs_keys)
    return read_through(path, {"obs_keys": keys, "filter_key": filter_key}, read)
