"""`dtql-robot validate`: what in a demonstration file would make training or evaluation wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.datasets.formats.reading import Reading
    from dtql_robot.datasets.validation.findings import Finding
    from dtql_robot.types import Demonstrations


LARGEST_COMPARED = 2**31
"""Bytes of images that are read only to compare them with the environment's; of more, --obs-keys names them."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Find everything that would spoil training or evaluation (errors), and what looks suspicious (warnings).

    Each finding says where it is and how to fix it. The exit code is 2 if there is an error. `train` does
    the same check on its data. What `train` would decide from the data (which episodes to imitate, which reward
    to learn from) is listed too.
    Example: dtql-robot validate low_dim.hdf5
    """

    data: Positional[str]
    """robomimic, D4RL or Minari HDF5; OGBench .npz; Zarr store; LeRobot folder; or the name of a published data set,
    such as minari:NAMESPACE/ID. Several: A,B."""
    filter_key: str | None = None
    """Only the demonstrations listed under `mask/<filter_key>` (robomimic files)."""
    obs_keys: tuple[str, ...] = ()
    """Observation keys that will be used. Default: all low-dimensional keys."""
    episode_length: int | None = None
    """Episode length, for a D4RL file that does not mark where episodes end. Default: as the file marks them."""
    reward: Literal["auto", "success", "dataset"] = "auto"
    """Reward that `train` will learn from; success requires a success signal."""
    action_norm: Literal["range", "none"] = "range"
    """Action normalization that `train` will use; none requires actions in [-1, 1]."""
    env: str | None = None
    """Environment to compare actions and observations with. Default: the one named in the data."""
    json: bool = False
    """Print JSON for programs."""


def run(options: Options) -> None:
    """Print the findings; exit code 2 where one of them is an error."""
    import json
    from dataclasses import replace

    from dtql_robot.datasets.loader import read_source
    from dtql_robot.datasets.validation.findings import Use
    from dtql_robot.datasets.validation.validate import validate

    use = Use(options.action_norm, options.reward, options.obs_keys)
    found = validate(options.data, filter_key=options.filter_key, episode_length=options.episode_length, use=use)
    if not {"unreadable", "simulator-missing"} & {f.code for f in found.findings}:
        reading = read_source(
            options.data,
            obs_keys=options.obs_keys or None,
            filter_key=options.filter_key,
            episode_length=options.episode_length,
        )
        demos = reading.demos
        fitting = fit(demos, options.env)
        found = replace(found, findings=(*fitting, *found.findings, *unused_images(options, reading)))
        if not found.errors:
            notes, findings = predicted(demos, options.env)
            found = replace(found, findings=(*findings, *found.findings), notes=(*found.notes, *notes))
            found = replace(found, decisions=decisions(demos, options))
    print(json.dumps(found.to_dict(), indent=2) if options.json else found)
    if found.errors:
        count = len(found.errors)
        raise InputError(f"{options.data} has {count} error{'s' if count > 1 else ''}; see above.")


def fit(demos: Demonstrations, env: str | None) -> list[Finding]:
    """What `train` would say about the environment that the policy will be judged in."""
    from dtql_robot.api.fit import check_fit
    from dtql_robot.datasets.validation.findings import error, warning

    try:
        notes = check_fit(demos, env, list(demos.obs_shapes))
    except InputError as refused:
        return [error("environment", demos.source, str(refused))]
    return [warning("environment", demos.source, note) for note in notes]


def predicted(demos: Demonstrations, env: str | None) -> tuple[tuple[str, ...], list[Finding]]:
    """How well the versions of a locomotion environment predict what was recorded: (notes, warnings)."""
    from dtql_robot.datasets.validation.findings import warning
    from dtql_robot.env_record import choose_env
    from dtql_robot.replay.one_step import predictions, sentences

    spec = choose_env(env, demos.env_spec, demos.env_args, source=demos.source).spec or ""
    note, doubt = sentences(predictions(demos, spec), spec)
    return (() if note is None else (note,)), ([] if doubt is None else [warning("dynamics", demos.source, doubt)])


def unused_images(options: Options, reading: Reading) -> list[Finding]:
    """What is odd about images that no --obs-keys names: they will be used one day."""
    from dtql_robot.api.fit import unused_images_warnings
    from dtql_robot.datasets.loader import read_source
    from dtql_robot.datasets.validation.findings import warning
    from dtql_robot.env_record import choose_env

    source, chosen, length, demos = options.data, options.filter_key, options.episode_length, reading.demos
    if options.obs_keys or choose_env(options.env, demos.env_spec, demos.env_args, source=demos.source).spec is None:
        return []
    images = {k: s for k, s in reading.available.items() if s.is_numeric and s.is_image}
    shapes = {k: s.shape[1:] for k, s in images.items() if s.shape[-1] == 3 and k not in demos.obs_shapes}
    if not shapes or demos.num_transitions * sum(map(math.prod, shapes.values())) > LARGEST_COMPARED:
        return []
    try:
        drawn = read_source(source, obs_keys=tuple(shapes), filter_key=chosen, episode_length=length).demos
    except InputError as error:
        return [warning("unreadable-images", source, str(error))]
    return [warning("image-convention", source, said) for said in unused_images_warnings(drawn, options.env)]


def decisions(demos: Demonstrations, options: Options) -> tuple[str, ...]:
    """What `train` would decide from the data with these options, and why."""
    from dtql_robot.config import Config, DataConfig
    from dtql_robot.training.prepare import resolve

    data = DataConfig(obs_keys=tuple(demos.obs_shapes), reward=options.reward, action_norm=options.action_norm)
    return resolve(demos, Config(data=data), options.env).decisions
