"""Several sources as one set of demonstrations: "a.hdf5,b.hdf5" or "minari:A,minari:B"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dtql_robot.datasets.formats.episode_checks import check_alike
from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations, Episode


def split_sources(data: str | Path) -> list[str]:
    """The sources that `data` names, separated by commas; a path that exists as it stands is one source."""
    text = str(data)
    if "," not in text or "\0" in text or Path(text).expanduser().exists():
        return [text]
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"{text!r} names an empty dataset between its commas; A,B was expected.")
    return parts


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
            raise InputError(f"{part.demos.source} has observations {sorted(found)}, {parts[0].demos.source} "
                             f"{sorted(expected)}. {remedy}")  # fmt: skip
