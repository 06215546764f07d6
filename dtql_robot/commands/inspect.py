"""`dtql-robot inspect`: what a demonstration file holds."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show what a demonstration file holds: episodes, lengths, returns, success, observations, action ranges.

    Example: dtql-robot inspect low_dim.hdf5
    """

    data: Positional[str]
    """robomimic HDF5, Minari folder or main_data.hdf5, D4RL HDF5, or minari:NAMESPACE/ID."""
    json: bool = False
    """Print JSON for programs."""


def run(options: Options) -> None:
    import json

    from dtql_robot.datasets import format_summary, inspect

    summary = inspect(options.data)
    print(json.dumps(summary, indent=2) if options.json else format_summary(summary))
