"""What a video shows: which episodes, how large, how fast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from dtql_robot.envs.info import EnvInfo
from dtql_robot.errors import InputError, require_choice, require_whole
from dtql_robot.system.files import check_writable

Overlay = Literal["keypoints", "saliency", "actions", "q"]
LOOKS: tuple[Overlay, ...] = ("keypoints", "saliency")
"""Overlays that need a policy that sees images; the others are curves."""
Filter = Literal["all", "failures", "successes"]

MAX_GRID = 36


@dataclass(frozen=True)
class VideoSpec:
    """What to film.

    path           the mp4 to write
    episodes       how many episodes to show
    filter         only failures, only successes, or all
    pick           these episodes (0 is the first) instead of a choice
    random         a random choice, from a fixed seed, instead of the first of each kind
    max_failures   with filter "all": at most this many failures, where there are successes to show (default: half)
    grid           all of them at once, side by side, instead of one after the other
    camera         name of the camera; None for a view that shows the task
    overlay        one or several of: "keypoints" or "saliency", what the policy looks at, in its camera images beside
                   the scene; "actions", what is executed, and "q", the critic's value of the chosen chunk, as curves
                   below it.  Names in a list, or in one text ("actions,q")
    width, height  of one episode's picture in pixels, multiples of 16; the caption adds a strip below
    fps            frames per second of the video; None plays in real time where the episode is short enough
    max_frames     longer episodes skip steps to stay within this many frames
    """

    path: Path
    episodes: int = 6
    filter: Filter = "all"
    pick: tuple[int, ...] = ()
    random: bool = False
    max_failures: int | None = None
    grid: bool = False
    camera: str | None = None
    overlay: str | Sequence[str] | None = None
    width: int = 320
    height: int = 320
    fps: int | None = None
    max_frames: int = 150

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        require_whole("A video's episodes", self.episodes, 1)
        require_whole("A video's max_frames", self.max_frames, 2)
        for name, low in (("fps", 1), ("max_failures", 0)):
            if (value := getattr(self, name)) is not None:
                require_whole(f"A video's {name}", value, low)
        for side in ("width", "height"):
            require_whole(f"A video's {side}", value := getattr(self, side), 160)
            if value % 16:
                raise InputError(f"A video's {side} must be a multiple of 16, found {value}.")
        require_choice("A video's filter", self.filter, get_args(Filter))
        if not isinstance(self.pick, Sequence) or not all(hasattr(number, "__index__") for number in self.pick):
            raise InputError(f"A video's pick is {self.pick!r}; expected numbers of episodes, such as (0, 3).")
        if self.grid and max(self.episodes, len(self.pick)) > MAX_GRID:
            raise InputError(f"A grid shows at most {MAX_GRID} episodes, found {max(self.episodes, len(self.pick))}.")
        unknown = [name for name in self.overlays if name not in get_args(Overlay)]
        if unknown:
            raise InputError(f"There is no overlay {unknown[0]!r}; expected one of {', '.join(get_args(Overlay))}.")
        if len(set(self.overlays) & set(LOOKS)) > 1:
            raise InputError("Keypoints and saliency take the same place in a video; expected one of them.")
        if self.path.suffix != ".mp4":
            raise InputError(f"The video must be an .mp4 file, found {self.path}.")

    @property
    def overlays(self) -> tuple[Overlay, ...]:
        """The overlays, each once."""
        words = (self.overlay,) if isinstance(self.overlay, str) else tuple(self.overlay or ())
        names = [name.strip() for word in words for name in word.split(",")]
        return tuple(dict.fromkeys(cast("Overlay", name) for name in names if name))

    @property
    def looks(self) -> Overlay | None:
        """The overlay of the policy's own camera images."""
        return next((name for name in self.overlays if name in LOOKS), None)

    @property
    def curves(self) -> tuple[Overlay, ...]:
        """The overlays below the scene, from top to bottom."""
        return tuple(name for name in ("actions", "q") if name in self.overlays)


@dataclass(frozen=True)
class ClipSpec:
    """Short films of single episodes, each in a file of its own that is named after the episode's seed.

    folder    receives them
    episodes  how many: failures first, at least a quarter successes.  Those that a video shows are always among them
    size      width and height in pixels, where no video shows the episode
    """

    folder: Path
    episodes: int = 0
    size: int = 240

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        if self.episodes < 0:
            raise InputError(f"The number of clips must be 0 or more, found {self.episodes}.")

    def file(self, seed: int) -> Path:
        """The clip of the episode with this seed."""
        return self.folder / f"{seed}.mp4"


@dataclass(frozen=True)
class Pace:
    """Every `stride`-th step is drawn and `fps` frames are shown a second, which is `speed` times real time."""

    stride: int
    fps: int
    speed: float


def path_of_each_camera(path: Path, cameras: Sequence[str]) -> list[tuple[Path, str | None]]:
    """(file, camera) of the videos to make: the file's name with the camera's, where there are several.

    No camera: one video of the default view.
    """
    if len(cameras) < 2:
        return [(path, cameras[0] if cameras else None)]
    return [(path.with_name(f"{path.stem}-{name.replace('/', '-')}{path.suffix}"), name) for name in cameras]


def pace(env_fps: int, horizon: int, spec: VideoSpec) -> Pace:
    """Real time at no more than 30 frames per second, faster where the episode would exceed max_frames."""
    real_time = math.ceil(env_fps / 30)
    stride = max(real_time, math.ceil(horizon / spec.max_frames))
    fps = spec.fps or max(1, round(env_fps / real_time))
    return Pace(stride, fps, stride * fps / env_fps)


def pick_episodes(successes: Sequence[bool], count: int, max_failures: int | None = None) -> list[int]:
    """Indices of `count` episodes: up to `max_failures` (default half) failures, filled up with successes.

    More failures are shown only where there are too few successes to fill the video.
    """
    limit = count // 2 if max_failures is None else max_failures
    failed = [i for i, success in enumerate(successes) if not success]
    won = [i for i, success in enumerate(successes) if success]
    shown = failed[: min(limit, count)]
    shown += won[: count - len(shown)]
    shown += failed[limit:][: count - len(shown)]
    return sorted(shown)


def spread(returns: Sequence[float], count: int) -> list[int]:
    """Indices of up to `count` episodes from the lowest return to the highest, in even steps of rank."""
    order = sorted(range(len(returns)), key=returns.__getitem__)
    if count >= len(order):
        return order
    return [order[round(i * (len(order) - 1) / max(1, count - 1))] for i in range(count)]


def check_video(spec: VideoSpec, facts: EnvInfo, episodes: int) -> None:
    """InputError, before anything is run, for a camera or an episode that there is not, or a path not to be written."""
    check_writable(spec.path)
    facts.check_camera(spec.camera)
    beyond = [i for i in spec.pick if not 0 <= i < episodes]
    if beyond:
        raise InputError(f"There is no episode {beyond[0]} to film; expected 0 to {episodes - 1}.")


def choose_episodes(successes: Sequence[bool], spec: VideoSpec) -> list[int]:
    """Indices of the episodes to film.  Empty where the filter leaves none."""
    if spec.pick:
        return list(spec.pick)
    if spec.filter == "all" and not spec.random:
        return pick_episodes(successes, spec.episodes, spec.max_failures)
    wanted = {"all": (True, False), "failures": (False,), "successes": (True,)}[spec.filter]
    eligible = [i for i, success in enumerate(successes) if success in wanted]
    if spec.random:
        eligible = np.random.default_rng(0).permutation(eligible).astype(int).tolist()
    return sorted(eligible[: spec.episodes])
