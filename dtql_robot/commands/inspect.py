"""`dtql-robot inspect`: what a demonstration file holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show what is in a demonstration file: episodes, lengths, returns, success, observations, action ranges.

    Example: dtql-robot inspect low_dim.hdf5
    """

    data: Positional[str]
    """robomimic, D4RL or Minari HDF5; OGBench .npz; Zarr store; LeRobot folder; or the name of a published data set,
    such as minari:NAMESPACE/ID. Several: A,B."""
    filter_key: str | None = None
    """Only the demonstrations listed under `mask/<filter_key>` (robomimic files)."""
    episode_length: int | None = None
    """Episode length, for a D4RL file that does not mark where episodes end. Default: as the file marks them."""
    tree: bool = False
    """Also show the layout of the file: every group, array and attribute of one episode."""
    json: bool = False
    """Print JSON for programs, including the layout."""


def run(options: Options) -> None:
    """Print the summary, and the file's layout if asked for."""
    import json

    from dtql_robot.datasets import format_summary
    from dtql_robot.datasets.file_tree import file_tree, format_tree
    from dtql_robot.datasets.loader import split_sources

    summary = summarize(options.data, options.filter_key, options.episode_length)
    sources = split_sources(options.data) if options.tree or options.json else []
    trees = {source: file_tree(source) for source in sources}
    if options.json:
        print(json.dumps(summary | {"trees": trees}, indent=2))
        return
    print(format_summary(summary))
    for source, tree in trees.items():
        print(f"\nlayout of {source}")
        print("\n".join(format_tree(tree)))


def summarize(data: str, filter_key: str | None, episode_length: int | None = None) -> dict[str, Any]:
    """As `datasets.inspect`; of a recording of simulator states, what can be told without its observations."""
    from dtql_robot.datasets import inspect
    from dtql_robot.datasets.formats.robosuite_recording import is_raw, open_recording, read_raw
    from dtql_robot.datasets.loader import split_sources

    sources = split_sources(data)
    if len(sources) > 1 or not is_raw(sources[0]):
        return inspect(data, filter_key=filter_key, episode_length=episode_length)
    summary = inspect(read_raw(data, filter_key))
    note = "a recording of simulator states: `dtql-robot convert` replays them for observations, rewards and success."
    about_actions = [text for text in summary["warnings"] if text.startswith("action")]
    unread = open_recording(data).unread
    return summary | {"notes": [*summary["notes"], note], "warnings": about_actions, "unread": unread}
