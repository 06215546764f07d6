"""OGBench's .npz: flat (N, ...) observations, actions, terminals, and qpos, qvel, button_states beside them.

`terminals` is 1 at each recording's last row, which has an observation and no action that was taken: T + 1 rows are T
steps, cut off by time.  Files saved with `next_observations` have an action in every row instead.

With the rewards of a single task, a state in which it is solved is worth nothing more, and the recording goes on.  An
episode therefore ends, terminal, with the step that solves the task, and the next begins where it is unsolved again;
steps that begin in a solved state are left out.  The rewards are those of the state before each step, as OGBench's own
since 1.2, so the values of all other states are what per-step masks give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dtql_robot.datasets.formats.episode_checks import Place, as_actions, as_column, as_obs, check_rows
from dtql_robot.datasets.formats.npz_archive import NpzArchive, open_npz
from dtql_robot.datasets.formats.ogbench_names import is_singletask
from dtql_robot.datasets.formats.ogbench_relabel import TaskLabels, relabel
from dtql_robot.datasets.formats.reading import Reading, Request, choose, read_each
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode

_OBS_KEY = "observation"
_ARRAYS = ("observations", "actions", "terminals")
_KNOWN = {*_ARRAYS, "next_observations", "rewards", "masks"}


@dataclass(frozen=True)
class _Span:
    """An episode's steps: rows [start, end).  solves: its last step solves the task."""

    start: int
    end: int
    solves: bool = False


def read(path: Path, dataset: str | None, request: Request) -> Reading:
    """Reader of OGBench files; see the module's docstring.  dataset: the data set's name, where it is known."""
    if request.filter_key is not None:
        raise InputError(f"{path.name} is an .npz file and has no filter keys; {request.filter_key!r} was asked for.")
    with open_npz(path) as archive:
        _check_layout(archive)
        return _read(archive, dataset, request)


def _check_layout(archive: NpzArchive) -> None:
    missing = [k for k in _ARRAYS if k not in archive.described]
    if missing:
        held = ", ".join([*archive.described, *archive.opaque][:8]) or "nothing"
        raise InputError(
            f"{archive.path} has no array {missing[0]!r} (only {held}); OGBench's observations, actions and terminals "
            "were expected. Hand arrays of your own to Demonstrations.from_arrays."
        )
    if "valids" in archive.described:
        raise InputError(
            f"{archive.path} has 'valids': it was saved by ogbench with compact_dataset=True, which marks ends twice. "
            "Use the published file, or save with compact_dataset=False."
        )


def _read(archive: NpzArchive, dataset: str | None, request: Request) -> Reading:
    file = archive.path.name
    whole = Place("the file", file)
    choice = choose({_OBS_KEY: archive.described["observations"]}, request.obs_keys, file)
    arrays = {key: archive.read(key) for key in archive.described if key in _KNOWN}
    rows = len(np.atleast_1d(arrays["actions"]))
    for key in arrays:
        check_rows(key, len(np.atleast_1d(arrays[key])), rows, whole)
    infos = {
        key: archive.read(key)
        for key, stored in archive.described.items()
        if key not in _KNOWN and stored.shape[:1] == (rows,) and stored.is_numeric and not stored.is_image
    }
    spans, notes = _recordings(arrays, whole)
    labels = None
    if is_singletask(dataset):
        labels = _labels(str(dataset), arrays, infos, file)
        spans, left_out = _unsolved(spans, labels.solved)
        notes.append(
            f"rewards are those of {dataset}. An episode ends where the task is solved; {left_out} steps that begin "
            "in a solved state are left out."
        )
        if not spans:
            raise InputError(f"Every state of {file} solves {dataset}: there is nothing to learn.")
    names = {f"episode_{i}": span for i, span in enumerate(spans)}

    def read_one(name: str) -> Episode:
        return _episode(name, names[name], arrays, infos, labels, file)

    episodes = read_each(list(names), read_one, request)
    spec = None if dataset is None else f"ogbench:{dataset}"
    if spec is None:
        notes.append("the file's name is none of OGBench's data sets, so no environment is known.")
    elif labels is None and "rewards" not in arrays:
        notes.append("there are neither goals nor rewards; name a task for rewards (-singletask-task1- before -v0).")
    demos = Demonstrations(episodes, file, "ogbench", spec)
    unread = archive.opaque | {
        k: f"{v.dtype} {v.shape}" for k, v in archive.described.items() if k not in _KNOWN and k not in infos
    }
    return Reading(demos, tuple(notes), choice.left_out, {}, choice.available, unread=unread)


def _recordings(arrays: dict[str, Array], whole: Place) -> tuple[list[_Span], list[str]]:
    """The steps of each recording, and what is worth telling of them."""
    ends = np.asarray(as_column(arrays["terminals"], "terminals", len(arrays["actions"]), whole) != 0)
    notes = []
    if not ends.any():
        raise whole.error("'terminals' is never set; 1 at the last row of each recording was expected")
    if not ends[-1]:
        notes.append("the last recording is cut off: no terminal follows it.")
        ends[-1] = True
    last = np.flatnonzero(ends)
    first = np.concatenate([[0], last[:-1] + 1])
    beside = "next_observations" in arrays  # every row has its own next observation, and an action that was taken
    spans = [_Span(int(a), int(b) + beside) for a, b in zip(first, last, strict=True)]
    short = next((i for i, span in enumerate(spans) if span.end <= span.start), None)
    if short is not None:
        raise whole.error(
            f"recording {short} has one row (row {spans[short].start}), an observation without a step,",
            "'terminals' must be 1 at the last row of each recording alone.",
        )
    return spans, notes


def _labels(dataset: str, arrays: dict[str, Array], infos: dict[str, Array], file: str) -> TaskLabels:
    if "next_observations" in arrays or "rewards" in arrays:
        raise InputError(
            f"{file} was changed after it was recorded (it has rewards or next_observations), so the rewards of "
            f"{dataset} cannot be made. Use the published file."
        )
    return relabel(dataset, {k: infos[k] for k in ("qpos", "button_states") if k in infos}, file)


def _unsolved(spans: list[_Span], solved: Array) -> tuple[list[_Span], int]:
    """Episodes of steps that begin unsolved, and how many steps are in none."""
    found = [part for span in spans for part in _parts(span, solved)]
    return found, sum(s.end - s.start for s in spans) - sum(s.end - s.start for s in found)


def _parts(span: _Span, solved: Array) -> Iterator[_Span]:
    outside = np.concatenate([[True], solved[span.start : span.end], [True]])
    changes = np.flatnonzero(np.diff(outside.astype(np.int8)))
    for start, end in zip(changes[::2] + span.start, changes[1::2] + span.start, strict=True):
        yield _Span(int(start), int(end), bool(solved[end]))


def _episode(
    name: str, span: _Span, arrays: dict[str, Array], infos: dict[str, Array], labels: TaskLabels | None, file: str
) -> Episode:
    place, steps = Place(name, file), slice(span.start, span.end)
    length = span.end - span.start
    beside = arrays.get("next_observations")
    rows = arrays["observations"][span.start : span.end + (beside is None)]
    obs = as_obs(rows, _OBS_KEY, place)
    last = obs[-1] if beside is None else as_obs(beside[span.end - 1 : span.end], _OBS_KEY, place)[0]
    _check_masks(arrays.get("masks"), span, place)
    stored = arrays.get("rewards") if labels is None else labels.rewards
    rewards = np.zeros(length, np.float32)
    if stored is not None:
        rewards = as_column(stored[steps], "rewards", length, place)
    success = None
    if labels is not None:
        success = np.zeros(length, bool)
        success[-1] = span.solves
    return Episode(
        name=name,
        obs={_OBS_KEY: obs[:length]},
        final_obs={_OBS_KEY: last},
        actions=as_actions(arrays["actions"][steps], place),
        rewards=rewards,
        terminated=span.solves,
        truncated=not span.solves,
        success=success,
        extras={f"infos/{k}": v[steps] for k, v in infos.items()},
        attrs={"rewards_missing": True} if stored is None else {},
    )


def _check_masks(masks: Array | None, span: _Span, place: Place) -> None:
    """InputError for a mask that is 0: an Episode has no place for it, and without it values would go past it."""
    if masks is None:
        return
    flags = as_column(masks[span.start : span.end], "masks", span.end - span.start, place)
    if not flags.all():
        step = int(np.flatnonzero(flags == 0)[0])
        raise place.error(
            f"'masks' is 0 at step {step}, inside a recording,",
            "Read the published file under the name of its task, e.g. cube-single-play-singletask-task2-v0.npz.",
        )
