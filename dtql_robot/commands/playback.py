"""`dtql-robot playback`: recorded demonstrations in the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from dtql_robot.commands.words import parse_names
from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.types import Demonstrations


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay demonstrations in the simulator, count how many still succeed, and film some.

    Replaying actions shows whether the simulator still behaves as it did when the data was recorded. The first state
    comes from the simulator states in the file (robosuite's states, MuJoCo's infos/qpos and infos/qvel) or from the
    recorded reset seed.
    Example: dtql-robot playback door.hdf5 --env AdroitHandDoor-v1 --video door.mp4
    """

    data: Positional[str]
    """Any file that `inspect` reads, or a raw robosuite recording."""
    use: Literal["actions", "states"] = "actions"
    """What to replay. actions: the recorded actions, open loop from the first state. states: the recorded states."""
    env: str | None = None
    """Environment. Default: the one named in the data."""
    filter_key: str | None = None
    """Only the demonstrations listed under `mask/<filter_key>`."""
    episodes: int | None = None
    """Replay only the first N demonstrations. Default: all."""
    video: Path | None = None
    """Write an mp4 of sample demonstrations; up to half of them failures."""
    video_episodes: int = 6
    """Number of demonstrations in the video."""
    cameras: Annotated[tuple[str, ...], arg(aliases=("--camera",))] = ()
    """Cameras of the simulation, by name, with one video for each. Default: a view that shows the task."""
    json: bool = False
    """Print JSON for programs."""


def run(options: Options) -> None:
    """Replay the demonstrations and print how many still succeed."""
    import json
    from dataclasses import replace

    from dtql_robot.eval.video.spec import VideoSpec, path_of_each_camera
    from dtql_robot.replay.playback import play_back
    from dtql_robot.system.files import check_writable, expanded

    if options.episodes is not None and options.episodes < 1:
        raise InputError(f"--episodes must be 1 or more, found {options.episodes}.")
    if options.video is None and options.cameras:
        raise InputError("--cameras says what a video shows; name its file with --video too.")
    video_path = expanded(options.video) if options.video else None
    if video_path:
        check_writable(video_path)
    demos = read(options.data, options.filter_key, options.env)
    demos = replace(demos, episodes=demos.episodes[: options.episodes])
    paths = path_of_each_camera(video_path, parse_names(options.cameras)) if video_path else [(None, None)]
    for number, (path, camera) in enumerate(paths):
        video = VideoSpec(path, episodes=options.video_episodes) if path else None
        found = play_back(demos, env=options.env, use=options.use, video=video, camera=camera)
        if number == 0:
            print(json.dumps(found.to_dict(), indent=2) if options.json else found)
        if found.video and not options.json:
            print(f"  {found.video}")


def read(data: str, filter_key: str | None, env: str | None = None) -> Demonstrations:
    """Demonstrations, also of recordings of states alone, whose episodes then have no observations."""
    from dtql_robot.datasets import load
    from dtql_robot.datasets.formats.robosuite_recording import is_raw, read_raw
    from dtql_robot.datasets.loader import split_sources

    sources = split_sources(data)
    if len(sources) == 1 and is_raw(sources[0]):
        return read_raw(sources[0], filter_key, env)
    return load(data, filter_key=filter_key)
