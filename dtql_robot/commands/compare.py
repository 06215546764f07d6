"""`dtql-robot compare`: evaluated runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from dtql_robot.commands.words import needs_video

if TYPE_CHECKING:
    from dtql_robot.eval.video.spec import VideoSpec


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare evaluated runs: success rates (or returns) with intervals, and a paired test on the episodes they share.

    First evaluate each run with the same --seed and --episodes.
    Example: dtql-robot compare runs/a runs/b --video a_and_b.mp4
    """

    runs: Positional[tuple[Path, ...]]
    """Run folders with a results.json (RUN@best for that checkpoint), or copies of it that `eval --json` wrote."""
    video: Path | None = None
    """Write an mp4 in which the policies play the same episodes side by side, first those that not all solve."""
    video_episodes: int = 4
    """Number of episodes in the video."""
    video_size: int = 320
    """Width and height of one policy's picture, in pixels; a multiple of 16."""
    video_overlay: tuple[str, ...] = ()
    """Curves below each scene: actions, q (the critic's value of the chosen chunk), or actions,q."""
    camera: Annotated[str | None, arg(aliases=("--cameras",))] = None
    """Camera of the simulation, by name. Default: a view that shows the task."""
    json: bool = False
    """Print JSON for programs."""


def run(options: Options) -> None:
    """Print the comparison.  InputError for fewer than two runs, or runs of different environments."""
    import json

    from dtql_robot.api.comparing import compare

    found = compare(options.runs, video=_video(options))
    if options.json:
        print(json.dumps(found.to_dict(), indent=2))
        return
    print(found)
    for line in (found.video, found.video_note):
        if line is not None:
            print(f"  {line}")


def _video(options: Options) -> VideoSpec | None:
    if not needs_video(options):
        return None
    from dtql_robot.eval.video.spec import VideoSpec
    from dtql_robot.system.files import expanded

    assert options.video is not None
    return VideoSpec(
        expanded(options.video),
        episodes=options.video_episodes,
        camera=options.camera,
        overlay=options.video_overlay,
        width=options.video_size,
        height=options.video_size,
    )
