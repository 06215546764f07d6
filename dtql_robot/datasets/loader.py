"""One way in for every format, and for several sources at once: "a.hdf5,b.hdf5" or "minari:A,minari:B"."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import h5py

from dtql_robot.datasets.cache import Content, read_through
from dtql_robot.datasets.episode_edits import success_from_reward
from dtql_robot.datasets.formats import d4rl_read as d4rl
from dtql_robot.datasets.formats import minari_read as minari_h5
from dtql_robot.datasets.formats import ogbench_read as ogbench
from dtql_robot.datasets.formats import robomimic_read as robomimic
from dtql_robot.datasets.formats import zarr_read as zarr
from dtql_robot.datasets.formats.episode_checks import check_alike
from dtql_robot.datasets.formats.file_kind import kind_of
from dtql_robot.datasets.formats.hdf5 import children
from dtql_robot.datasets.formats.hdf5_errors import file_name
from dtql_robot.datasets.formats.hdf5_open import check_is_hdf5, open_file
from dtql_robot.datasets.formats.lerobot import read as lerobot
from dtql_robot.datasets.formats.lerobot.plan import plan
from dtql_robot.datasets.formats.location import resolve
from dtql_robot.datasets.formats.ogbench_names import dataset_name
from dtql_robot.datasets.formats.plugin_read import read as plugin_read
from dtql_robot.datasets.formats.plugin_read import split_plugin
from dtql_robot.datasets.formats.precision import lost, watch
from dtql_robot.datasets.formats.reading import Keep, Reading, Request
from dtql_robot.datasets.published.names import published_file, split_name
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations, Episode

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
    episode_length: int | None = None,
) -> Demonstrations:
    """Read demonstrations into memory.

    data            robomimic HDF5, Minari folder or main_data.hdf5, D4RL HDF5, OGBench .npz, Zarr store (folder or
                    zip), or a published name (robomimic:lift/mh/low_dim, d4rl:NAME, ogbench:NAME, minari:ID), which
                    is downloaded once; several, separated by commas, are joined
    obs_keys        observations to load, in this order; None: every low-dimensional one, no images
    filter_key      subset of a robomimic file ("train", "valid", ...); None: all episodes
    success_reward  a step counts as a success if its reward is at least this; None: the source's own signal
    episode_length  steps after which an episode of a D4RL file ends if the file marks no end; None: as recorded

    Actions, rewards and low-dimensional observations are float32, images uint8.
    Raises InputError, with cause, place and remedy, for anything that is not such a dataset.
    """
    return read_source(
        data, obs_keys=obs_keys, filter_key=filter_key, success_reward=success_reward, episode_length=episode_length
    ).demos


def read_source(
    data: str | Path,
    *,
    obs_keys: Sequence[str] | None = None,
    filter_key: str | None = None,
    success_reward: float | None = None,
    episode_length: int | None = None,
    problems: list[str] | None = None,
    cached: bool = True,
) -> Reading:
    """As `load`, with the notes that `inspect` shows.

    problems: where given, a bad episode of a robomimic or Minari file becomes a sentence there instead of an InputError
    (unless none is good), so that `validate` finds all of them.
    cached: large files are read from a packed copy, see dtql_robot.datasets.cache.
    """
    sources = split_sources(data)
    request = Request(obs_keys, filter_key, problems, episode_length=episode_length)
    parts = [_read(source, request, cached) for source in sources]
    reading = parts[0] if len(parts) == 1 else combine(parts, sources)
    demos = replace(reading.demos, source=str(data))
    if success_reward is None:
        return replace(reading, demos=demos)
    note = f"success: a reward of at least {success_reward:g} (success_reward)."
    return replace(reading, demos=success_from_reward(demos, success_reward), notes=(*reading.notes, note))


def _read(data: str | Path, request: Request, cached: bool) -> Reading:
    added = split_plugin(data)
    if added is not None:
        with watch() as ranges:
            reading = plugin_read(*added, request)
        return replace(reading, notes=(*reading.notes, *lost(ranges)))
    path = resolve(data)
    kind = kind_of(path)
    name = dataset_name(data) if kind == "npz" else None  # what is read depends on it

    def read(keep: Keep | None) -> Reading:
        asked = replace(request, keep=keep)
        with watch() as ranges:
            reading = _read_hdf5(path, asked) if kind == "hdf5" else _read_flat(path, kind, name, asked)
        return replace(reading, notes=(*reading.notes, *lost(ranges)))

    if kind == "lerobot":
        return _read_lerobot(path, request, cached)
    if request.problems is not None or not cached or path.is_dir():
        return _named_env(data, read(None))
    if kind == "hdf5":
        check_is_hdf5(path)
    keys = None if request.obs_keys is None else list(request.obs_keys)
    asked = {"obs_keys": keys, "filter_key": request.filter_key, "episode_length": request.episode_length}
    return _named_env(data, read_through(path, asked if name is None else {**asked, "name": name}, read))


def _named_env(data: str | Path, reading: Reading) -> Reading:
    """With the environment that belongs to a published name, where the file itself names none."""
    name = split_name(str(data))
    if name is None or name[0] != "d4rl" or reading.demos.env_spec is not None:
        return reading
    return replace(reading, demos=replace(reading.demos, env_spec=published_file(*name).env))


def _read_hdf5(path: Path, request: Request) -> Reading:
    with open_file(path) as file:
        layout = detect(file)
        if layout != "d4rl":
            _refuse_episode_length(path, layout, request)
        return _ADAPTERS[layout](file, request)


def _read_flat(path: Path, kind: str, name: str | None, request: Request) -> Reading:
    _refuse_episode_length(path, kind, request)
    reading = ogbench.read(path, name, request) if kind == "npz" else zarr.read(path, request)
    check_alike(reading.demos.episodes, path.name)
    return reading


def _read_lerobot(root: Path, request: Request, cached: bool) -> Reading:
    """A LeRobot folder; where its arrays are large, as pictures are once they are decoded, from a packed copy."""
    _refuse_episode_length(root, "lerobot", request)
    planned = plan(root, request)

    def read(keep: Keep | None) -> Reading:
        with watch() as ranges:
            reading = lerobot.read(planned, replace(request, keep=keep))
        check_alike(reading.demos.episodes, root.name)
        return replace(reading, notes=(*reading.notes, *lost(ranges)))

    if request.problems is not None or not cached:
        return read(None)
    asked = {"obs_keys": None if planned.keys is None else list(planned.keys), "filter_key": request.filter_key}
    return read_through(root, asked, read, content=Content(planned.files, planned.size))


def _refuse_episode_length(path: Path, layout: str, request: Request) -> None:
    if request.episode_length is not None:
        raise InputError(
            f"{path.name} is a {layout} file, which says where its episodes end; --episode-length "
            "is for D4RL files. Leave it out."
        )


def detect(file: h5py.File) -> str:
    """ "robomimic" (data/demo_N), "minari" (episode_N) or "d4rl" (observations, actions).  Else InputError."""
    keys = children(file)
    if "data" in keys:
        return "robomimic"
    if any(minari_h5.EPISODE.fullmatch(k) for k in keys):
        return "minari"
    if "observations" in keys and "actions" in keys:
        return "d4rl"
    found = f"its top level holds {', '.join(map(repr, keys[:8]))}{', ...' if len(keys) > 8 else ''}"
    raise InputError(
        f"{file_name(file)} has no known layout: {found if keys else 'it contains nothing'}. Supported layouts: "
        "robomimic (data/demo_N), Minari (episode_N) and D4RL (observations, actions, terminals)."
    )


def split_sources(data: str | Path) -> list[str]:
    """The sources that `data` names, separated by commas; a path that exists as it stands is one source."""
    text = str(data)
    if "," not in text or "\0" in text or Path(os.path.expanduser(text)).exists():
        return [text]
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"{text!r} names an empty dataset between its commas; expected A,B.")
    return parts


def is_path(source: str) -> bool:
    """Whether a single source is a place in the file system, and not a published name or one for a plugin."""
    return split_name(source) is None and split_plugin(source) is None


def combine(parts: Sequence[Reading], sources: Sequence[str]) -> Reading:
    """All episodes in order, named "episode_3 of <source>".

    Action sizes and observations must be the same in all; the environment is the sources' common one, else none.
    """
    parts = [
        replace(part, demos=replace(part.demos, source=source)) for part, source in zip(parts, sources, strict=True)
    ]
    _check_keys(parts)
    episodes = tuple(_named(e, part.demos.source) for part in parts for e in part.demos.episodes)
    names = ", ".join(part.demos.source for part in parts)
    check_alike(episodes, names)
    specs = {part.demos.env_spec for part in parts}
    formats = {part.demos.format for part in parts}
    first = parts[0].demos
    demos = Demonstrations(
        episodes,
        names,
        first.format if len(formats) == 1 else "combined",
        first.env_spec if len(specs) == 1 else None,
        first.env_args if len(specs) == 1 else {},
        {k: v for k, v in first.attrs.items() if all(k in p.demos.attrs and p.demos.attrs[k] == v for p in parts)},
    )
    notes = [f"{p.demos.source}: {note}" for p in parts for note in p.notes]
    if len(specs) > 1:
        notes.append(f"the sources name different environments ({', '.join(sorted(map(str, specs)))}): none is kept.")
    elif any(p.demos.env_args != first.env_args for p in parts):
        notes.append(f"the sources' records of {first.env_spec} differ; that of {first.source} is kept.")
    filters = {f"{p.demos.source}:{k}": v for p in parts for k, v in p.filter_keys.items()}
    unread = {k: v for p in parts for k, v in p.unread.items()}
    return Reading(demos, tuple(notes), dict(parts[0].left_out), filters, dict(parts[0].available), unread=unread)


def _named(episode: Episode, source: str) -> Episode:
    return replace(episode, name=f"{episode.name} of {source}")


def _check_keys(parts: Sequence[Reading]) -> None:
    expected = parts[0].demos.obs_shapes
    for part in parts[1:]:
        found = part.demos.obs_shapes
        if set(found) != set(expected):
            common = sorted(set(found) & set(expected))
            remedy = f"Choose common ones: {', '.join(common)}." if common else "They have none in common."
            raise InputError(
                f"{part.demos.source} has observations {sorted(found)}, {parts[0].demos.source} "
                f"{sorted(expected)}. {remedy}"
            )
