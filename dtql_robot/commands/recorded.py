"""Recordings that are continued: what a file holds already of a plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtql_robot.envs.collection.plan import CollectionPlan
    from dtql_robot.types import Episode


def read_recorded(path: Path, plan: CollectionPlan) -> tuple[Episode, ...]:
    """The episodes in the file at `path`, none where there is no file.  InputError where they are not of this plan."""
    if not path.exists():
        return ()
    from dtql_robot.datasets.loader import read_source

    keys = tuple(k for k, stored in read_source(path).available.items() if stored.is_numeric)
    demos = read_source(path, obs_keys=keys, cached=False).demos
    plan.check_continues(demos.attrs, path)
    return demos.episodes
