"""A file of simulator states into a file of observations: in parallel, and resumable.

Every demo goes to a file of its own in the folder ".<out>.parts" first, so that a conversion that was interrupted goes
on where it stopped.  `recipe.json` there says what is being made; parts of another recipe are never mixed in.  A part
is named by the demo's place in the file: a demo may have any name, of any length.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dtql_robot.datasets.formats.robomimic_write import save_robomimic_stream
from dtql_robot.datasets.formats.robosuite_recording import (
    StateRecording,
    choose_names,
    open_recording,
    read_state_demo,
)
from dtql_robot.datasets.loader import read_source
from dtql_robot.errors import InputError
from dtql_robot.replay.robosuite_states import StateReplayer
from dtql_robot.system.cluster import Cluster, Finished, Pool
from dtql_robot.system.cores import usable_cores
from dtql_robot.system.files import expanded, hidden_sibling, new_file, write_json
from dtql_robot.system.progress import progress_bar
from dtql_robot.system.remembered import content_digest
from dtql_robot.system.task_pool import Failed, TaskPool
from dtql_robot.system.workers import Worker, WorkerError
from dtql_robot.types import Episode

FACTORY = "dtql_robot.replay.robosuite_states:StateReplayer"
TIMEOUT = 3600.0
"""Seconds in which a worker must have replayed a demonstration, its images drawn."""


def extract_observations(
    source: str | Path,
    out: str | Path,
    *,
    cameras: Sequence[str] = (),
    size: tuple[int, int] = (84, 84),
    filter_key: str | None = None,
    env: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    cluster: Cluster | None = None,
) -> list[dict[str, Any]]:
    """Replay the states of `source` in robosuite and write the robomimic file `out`.

    cameras: names of the simulation's cameras; each gives "<camera>_image", size (height, width) in pixels.
    env: the environment, where the file names none.
    Returns per demo {"name", "steps", "success", "ends_in_success", "empty" (observations without values)}.
    The data does not depend on `workers`, nor on the cluster that replays it.
    """
    out = expanded(Path(out))
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already. Choose another name or allow overwriting.")
    recording = open_recording(source, env)
    names = choose_names(recording, filter_key)
    parts = hidden_sibling(out, "parts")
    Finished(parts, _recipe(recording, cameras, size))
    stems = {name: parts / str(i) for i, name in enumerate(recording.names) if name in set(names)}
    outcomes = _replay(recording, stems, cameras, size, workers, progress, cluster)
    index = {name: i for i, name in enumerate(names)}
    masks = {k: [index[n] for n in members if n in index] for k, members in recording.filter_keys.items()}
    episodes = (_episode(stem) for stem in stems.values())
    save_robomimic_stream(
        episodes, out, env_args=recording.env_args, attrs=recording.attrs, overwrite=overwrite, masks=masks
    )
    shutil.rmtree(parts)
    return outcomes


def _recipe(recording: StateRecording, cameras: Sequence[str], size: tuple[int, int]) -> dict[str, Any]:
    return {
        "source": content_digest(recording.path),
        "env": recording.robosuite_spec,
        "cameras": list(cameras),
        "size": list(size),
        "robosuite": _robosuite_version(),
    }


def _robosuite_version() -> str:
    try:
        return version("robosuite")
    except ImportError as error:
        raise InputError(
            "Replaying states needs the package robosuite: `pip install 'dtql-robot[robosuite]'`."
        ) from error


def _replay(
    recording: StateRecording,
    stems: Mapping[str, Path],
    cameras: Sequence[str],
    size: tuple[int, int],
    workers: int | None,
    progress: bool,
    cluster: Cluster | None,
) -> list[dict[str, Any]]:
    """Make the parts that are missing; the outcome of every demo, in order.

    stems: demo -> the path of its part without an ending.
    """
    outcomes = {name: json.loads(_note(stem).read_text()) for name, stem in stems.items() if _note(stem).exists()}
    missing = [(name, str(_part(stem))) for name, stem in stems.items() if name not in outcomes]
    arguments = (str(recording.path), recording.robosuite_spec, recording.env_args, list(cameras), size)
    count = max(1, min(workers or usable_cores(), len(missing)))
    with contextlib.ExitStack() as stack:
        results: Iterator[dict[str, Any] | Failed]
        bar = stack.enter_context(
            progress_bar("replay", total=len(stems), unit="demo", initial=len(outcomes), enabled=progress)
        )
        if not missing:
            results = iter(())
        elif cluster is not None:
            pool: Any = cluster.pool(FACTORY, arguments, timeout=TIMEOUT, report=_tell)
            results = _fetched(stack.enter_context(contextlib.closing(pool)), recording.path, missing)
        elif count == 1:
            replayer = stack.enter_context(contextlib.closing(StateReplayer(*arguments)))
            results = map(replayer.write, missing)
        else:
            pool = TaskPool(lambda: Worker(FACTORY, *arguments), count, timeout=TIMEOUT, report=_tell)
            results = stack.enter_context(contextlib.closing(pool)).map("write", missing)
        for outcome in results:
            if isinstance(outcome, Failed):
                what = f"{outcome.item[0]} could not be replayed: {outcome.reason}"
                raise WorkerError(f"{what} Finished work is kept; the same command continues from there.")
            outcomes[outcome["name"]] = outcome
            write_json(_note(stems[outcome["name"]]), outcome)
            bar.set_postfix_str(f"success {sum(o['success'] for o in outcomes.values())}/{len(outcomes)}")
            bar.update()
    return [outcomes[name] for name in stems]


def _fetched(pool: Pool, source: Path, missing: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any] | Failed]:
    """Outcomes of demos that travel to where they are replayed; what comes back is written here."""
    demos = (read_state_demo(source, name) for name, _ in missing)
    for (_, path), found in zip(missing, pool.map("replay", demos), strict=True):
        if isinstance(found, Failed):
            yield Failed((found.item.name, path), found.reason)
            continue
        outcome, content = found
        with new_file(Path(path), overwrite=True) as temporary:
            temporary.write_bytes(content)
        yield outcome


def _tell(sentence: str) -> None:
    print(f"replay: {sentence}", file=sys.stderr)


def _part(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}.hdf5")


def _note(stem: Path) -> Path:
    """Written after the part itself, so that its presence means that the part is whole."""
    return stem.with_name(f"{stem.name}.json")


def _episode(stem: Path) -> Episode:
    keys = list(read_source(_part(stem), cached=False).available)
    return read_source(_part(stem), obs_keys=keys, cached=False).demos.episodes[0]
