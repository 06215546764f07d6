"""`dtql-robot convert`: any supported file into robomimic, Minari, LeRobot, OGBench's or D4RL's layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from dtql_robot.commands.words import parse_names
from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.datasets.formats.reading import Reading
    from dtql_robot.types import Demonstrations


_NAMES = {"minari": "Minari", "ogbench": "OGBench's layout", "lerobot": "LeRobot", "d4rl": "D4RL's layout"}
INTERRUPTED = "Demonstrations that were replayed are kept; the same command continues."


@dataclass(frozen=True, kw_only=True)
class Options:
    """Convert demonstrations to robomimic, Minari, LeRobot, OGBench or D4RL format, unchanged unless an option asks for
    more.

    Raw robosuite recordings hold simulator states only; these are replayed in the simulator to get the observations.
    After an interruption, the same command continues.
    Examples: dtql-robot convert door.hdf5 door-v0 --env AdroitHandDoor-v1
              dtql-robot convert demo.hdf5 image.hdf5 --cameras agentview robot0_eye_in_hand --size 84 84
              dtql-robot convert image.hdf5 lift_lerobot --format lerobot --video
    """

    data: Positional[str]
    """robomimic, Minari, D4RL, OGBench, Zarr, LeRobot or raw robosuite file or folder, or minari:NAMESPACE/ID. Several:
    A,B."""
    out: Positional[Path]
    """File (robomimic, ogbench, d4rl) or folder (minari, named NAME-vN, or lerobot) to write."""
    format: Literal["auto", "robomimic", "minari", "lerobot", "ogbench", "d4rl"] = "auto"
    """Format of the output. auto: robomimic if OUT ends in .hdf5 or .h5, ogbench if it ends in .npz, otherwise
    minari."""
    lerobot_version: Literal["v3.0", "v2.1"] = "v3.0"
    """Version of the LeRobot format to write."""
    video: bool = False
    """Write images of a LeRobot dataset as compressed mp4 videos. Default: as exact PNG files inside the tables."""
    fps: float | None = None
    """Steps per second to note in a LeRobot dataset. Default: as recorded, or 20 if the source does not say."""
    obs_keys: tuple[str, ...] = ()
    """Observation keys to keep, in this order. Default: all, including images."""
    filter_key: str | None = None
    """Only the demonstrations listed under `mask/<filter_key>`; of a LeRobot dataset, a split or indices such as
    0:10,15."""
    env: str | None = None
    """Environment to name in the new file, if the old file names none or an outdated one."""
    success_reward: float | None = None
    """Count a step as a success if its reward is at least this."""
    episode_length: int | None = None
    """Episode length, for a D4RL file that does not mark where episodes end. Default: as the file marks them."""
    time_limit: int | None = None
    """Mark episodes of this many steps that do not end in success as truncated, not terminated."""
    clip_actions: bool = False
    """Clip actions to [-1, 1]."""
    cameras: tuple[str, ...] = ()
    """Cameras to render from the simulator states."""
    size: tuple[int, ...] = (84,)
    """Height and width of the images, in pixels: one number for both, or two."""
    workers: int | None = None
    """Number of simulators to run at once; the data does not depend on it. Default: one per CPU core."""
    cluster: str | None = None
    """Where to replay simulator states: local (Ray, started here), auto (the Ray cluster that this machine is
    part of), the address of a Ray cluster, or slurm. Default: processes of this machine."""
    cluster_config: Path | None = None
    """JSON file with what a task may use of the cluster, and with options for Slurm (docs/scale.md)."""
    overwrite: bool = False
    """Replace OUT if it exists."""


def run(options: Options) -> None:
    """Write the data in the format that the output's name asks for."""
    from dtql_robot.datasets import format_summary, inspect
    from dtql_robot.system.files import expanded
    from dtql_robot.system.locks import locked

    options = replace(options, out=expanded(options.out), cameras=parse_names(options.cameras))
    _check(options)
    with locked(options.out):
        _convert(options)
    print(format_summary(inspect(options.out)))


def _check(options: Options) -> None:
    """All that could stop the result from being written, before anything is read."""
    from dtql_robot.datasets.formats.minari_write import minari_id
    from dtql_robot.system.files import check_writable

    if options.out.exists() and not options.overwrite:
        raise InputError(f"{options.out} exists already; choose another OUT or add --overwrite.")
    if len(options.size) not in (1, 2):
        raise InputError(f"--size takes one number or two, height and width, found {len(options.size)}.")
    if min(options.size) < 1 or (options.workers is not None and options.workers < 1):
        size = " ".join(map(str, options.size))
        raise InputError(f"--size and --workers must be 1 or more, found {size} and {options.workers}.")
    if _layout(options) == "minari":
        minari_id(options.out)
    else:
        check_writable(options.out)


def _convert(options: Options) -> None:
    from dtql_robot.datasets.formats.robosuite_recording import is_raw
    from dtql_robot.datasets.loader import split_sources
    from dtql_robot.system.files import hidden_sibling

    sources = split_sources(options.data)
    if not options.cameras and not any(is_raw(source) for source in sources):
        _rewrite(options.data, options)
    elif len(sources) > 1:
        raise InputError("Simulator states are replayed one file at a time; convert each, then join the results.")
    elif _layout(options) == "robomimic" and _unedited(options):
        _extract(options, options.out, options.overwrite)
    else:  # beside OUT under a fixed name, so that it can be continued
        drawn = hidden_sibling(options.out, "drawn.hdf5")
        _extract(options, drawn, overwrite=True)
        try:
            _rewrite(str(drawn), replace(options, filter_key=None))
        finally:
            drawn.unlink()


def _layout(options: Options) -> str:
    return options.format if options.format != "auto" else layout_of(options.out)


def layout_of(out: Path) -> str:
    """The layout that the name of an output asks for."""
    return {".hdf5": "robomimic", ".h5": "robomimic", ".npz": "ogbench"}.get(out.suffix, "minari")


def _unedited(options: Options) -> bool:
    edits = (options.env, options.success_reward, options.time_limit)
    return not options.clip_actions and not options.obs_keys and all(value is None for value in edits)


def _rewrite(data: str, options: Options) -> None:
    """Read, change as asked, write."""
    from dtql_robot.datasets.episode_edits import clip_actions, mark_time_outs

    reading = read_all(
        data,
        obs_keys=options.obs_keys,
        filter_key=options.filter_key,
        success_reward=options.success_reward,
        episode_length=options.episode_length,
    )
    demos = reading.demos
    if options.env is not None:
        demos = _renamed(demos, options.env)
    if options.time_limit is not None:
        demos = mark_time_outs(demos, options.time_limit)
    if options.clip_actions:
        demos = clip_actions(demos)
    write(
        replace(reading, demos=demos),
        options.out,
        _layout(options),
        overwrite=options.overwrite,
        version=options.lerobot_version,
        video=options.video,
        fps=options.fps,
    )


def write(
    reading: Reading,
    out: Path,
    layout: str,
    *,
    overwrite: bool,
    version: Literal["v3.0", "v2.1"] = "v3.0",
    video: bool = False,
    fps: float | None = None,
) -> None:
    """Write what was read, and say what there is no place for.

    layout: "robomimic", "minari", "lerobot", "ogbench" or "d4rl".  version, video, fps: see `save_lerobot`.
    """
    from dtql_robot.datasets import save_d4rl, save_lerobot, save_minari, save_ogbench, save_robomimic
    from dtql_robot.datasets.episode_edits import mask_indices
    from dtql_robot.datasets.formats import d4rl_write, ogbench_write
    from dtql_robot.datasets.formats.lerobot import write as lerobot

    demos, masks = reading.demos, mask_indices(reading)
    lost: list[str] = []
    if layout == "robomimic":
        save_robomimic(demos, out, overwrite=overwrite, masks=masks)
    elif layout == "lerobot":
        save_lerobot(demos, out, version=version, video=video, fps=fps, overwrite=overwrite, splits=masks)
        lost += lerobot.cannot_hold(demos, video)
        if fps is None and lerobot.fps_of(demos) is None:
            print(f"note: {lerobot.ASSUMED_FPS:g} steps per second are noted, since the source does not say; --fps N")
    else:
        save = {"minari": save_minari, "ogbench": save_ogbench, "d4rl": save_d4rl}[layout]
        save(demos, out, overwrite=overwrite)
        lost += [f"filter keys ({', '.join(reading.filter_keys)})"] if reading.filter_keys else []
        flat = {"ogbench": ogbench_write, "d4rl": d4rl_write}.get(layout)
        lost += flat.cannot_hold(demos) if flat else []
    for phrase in lost:
        print(f"note: {_NAMES[layout]} has no place for {phrase}")
    for key, what in reading.left_out.items():
        print(f"note: observation {key!r} ({what}) was left out")
    _tell_unread(reading.unread)


def _renamed(demos: Demonstrations, env: str) -> Demonstrations:
    """The data as recorded in `env`; what it records of its environment stays where that is another name of it."""
    from dtql_robot.env_record import EVAL_SPEC, choose_env

    chosen = choose_env(env, demos.env_spec, demos.env_args, source=demos.source, evaluation=False)
    for note in chosen.notes:
        print(f"note: {note}")
    kept = {k: v for k, v in demos.env_args.items() if k == EVAL_SPEC}
    return replace(demos, env_spec=env, env_args={**chosen.env_args, **kept})


def _tell_unread(unread: dict[str, str]) -> None:
    from dtql_robot.datasets.summary_text import unread_text

    if unread:
        print(f"note: not one row per step, so left out: {unread_text(unread)}")


def _extract(options: Options, out: Path, overwrite: bool) -> None:
    from dtql_robot.datasets.formats.robosuite_recording import open_recording
    from dtql_robot.replay.extract import extract_observations
    from dtql_robot.system.cluster import connect

    with connect(options.cluster, options.cluster_config) as cluster:
        outcomes = extract_observations(
            options.data,
            out,
            cameras=options.cameras,
            size=(options.size[0], options.size[-1]),
            filter_key=options.filter_key,
            workers=options.workers,
            overwrite=overwrite,
            env=options.env,
            cluster=cluster,
        )
    print(success_line(outcomes))
    for key in outcomes[0].get("empty", []):
        print(f"note: observation {key!r} has no values and was left out")
    _tell_unread(open_recording(options.data).unread)


def success_line(outcomes: list[dict[str, Any]]) -> str:
    """ "3 of 3 demonstrations end in success when their states are replayed"."""
    ends = sum(o["ends_in_success"] for o in outcomes)
    ever = sum(o["success"] for o in outcomes)
    text = f"{ends} of {len(outcomes)} demonstrations end in success when their states are replayed"
    text += f", {ever} succeed at some step" if ever > ends else ""
    failed = [o["name"] for o in outcomes if not o["success"]]
    return text + (f"; never: {', '.join(failed[:10])}{', ...' if len(failed) > 10 else ''}" if failed else "")


def read_all(
    data: str,
    *,
    obs_keys: tuple[str, ...],
    filter_key: str | None,
    success_reward: float | None,
    episode_length: int | None,
) -> Reading:
    """What `read_source` reads; with no `obs_keys` all observations, images too."""
    from dtql_robot.datasets.loader import read_source

    if not obs_keys:
        first = read_source(data, filter_key=filter_key, episode_length=episode_length)
        obs_keys = tuple(k for k, stored in first.available.items() if stored.is_numeric)
        if set(obs_keys) == set(first.demos.obs_shapes) and success_reward is None:
            return first
    return read_source(
        data,
        obs_keys=obs_keys,
        filter_key=filter_key,
        success_reward=success_reward,
        episode_length=episode_length,
    )
