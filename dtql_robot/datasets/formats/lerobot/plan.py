"""What a request reads of a LeRobot folder: which episodes, observations and files, and how much that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from dtql_robot.datasets.formats.lerobot.features import Roles, roles_of
from dtql_robot.datasets.formats.lerobot.meta import Meta, Recording, indices, read_meta
from dtql_robot.datasets.formats.reading import Request
from dtql_robot.errors import InputError


@dataclass(frozen=True)
class Plan:
    """What a request will read.  files: below the root.  size: bytes of the arrays that come of it."""

    meta: Meta
    roles: Roles
    chosen: tuple[Recording, ...]
    keys: tuple[str, ...] | None
    files: tuple[str, ...]
    size: int
    frames: int


def plan(root: Path, request: Request) -> Plan:
    """What is to be read of the folder, by its notes alone."""
    meta = read_meta(root)
    roles = roles_of(meta.features, meta.own, str(root))
    chosen = _chosen(meta, request.filter_key)
    asked = request.obs_keys
    keys = None if asked is None else tuple(roles.key_of(k) for k in ([asked] if isinstance(asked, str) else asked))
    steps = sum(r.steps for r in chosen)
    pictures = [roles.obs[k] for k in dict.fromkeys(keys or ()) if k in roles.obs and roles.obs[k].feature.is_picture]
    a_row = 4 * sum(math.prod(f.shape) for f in meta.features.values() if f.is_number)
    a_row += sum(math.prod(source.feature.shape) for source in pictures)
    videos = {source.feature.name for source in pictures}
    files = {r.data for r in chosen} | {c.file for r in chosen for k, c in r.clips.items() if k in videos}
    return Plan(meta, roles, chosen, keys, tuple(sorted(files)), steps * a_row, steps * len(pictures))


def _chosen(meta: Meta, filter_key: str | None) -> tuple[Recording, ...]:
    """The episodes of a split, or of indices such as "0:10,15"."""
    if filter_key is None:
        return meta.recordings
    known = {r.index: r for r in meta.recordings}
    wanted = meta.splits.get(filter_key, indices(filter_key))
    if wanted is None:
        names = ", ".join(meta.splits) or "none"
        raise InputError(
            f"{meta.root}: no split {filter_key!r} (there are {names}); expected a split or "
            "episode indices such as 0:10,15."
        )
    missing = [i for i in wanted if i not in known]
    if missing or not wanted:
        what = f"names episode {missing[0]}, which does not exist" if missing else "selects no episodes"
        raise InputError(f"{meta.root}: {filter_key!r} {what}; it has episodes {min(known)} to {max(known)}.")
    return tuple(known[i] for i in sorted(set(wanted)))
