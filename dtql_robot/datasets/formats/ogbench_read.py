"""OGBench's .npz: flat (N, ...) observations, actions, terminals, and qpos, qvel, button_states beside them.

`terminals` is 1 at each recording's last row, which has an observation and no action that was taken: T + 1 rows are T
steps, cut off by time.  Files saved with `next_observations` have an action in every row instead.

With the rewards of a single task, they are those of the state before each step, as OGBench's own since 1.2, and a step
from a state in which the task is solved has mask 0: nothing counts after it, and the recording goes on.  A recording
whose last state is solved is terminal.

Files of this package have a `record` besides: JSON with the environment and what else the layout has no place for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dtql_robot.datasets.formats.episode_checks import Place, as_actions, as_column, as_masks, as_obs, check_rows
from dtql_robot.datasets.formats.npz_archive import NpzArchive, open_npz
from dtql_robot.datasets.formats.ogbench_names import is_singletask
from dtql_robot.datasets.formats.ogbench_relabel import TaskLabels, relabel
from dtql_robot.datasets.formats.own_record import RECORD, Record, parse_record
from dtql_robot.datasets.formats.reading import Reading, Request, choose, read_each
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode

OBS_KEY = "observation"
FINAL_INFOS = "final_infos"
"""Episode attribute: the extras "infos/<key>" of the state after the last step, as lists."""
_STATES = ("qpos", "button_states")
"""Arrays that the rewards of a task are computed from."""
_ARRAYS = ("observations", "actions", "terminals")
KNOWN = {*_ARRAYS, "next_observations", "rewards", "masks", "success"}
"""Arrays of the file that are no extras."""


@dataclass(frozen=True)
class _Contents:
    """What was read of a file, row by row.  infos: name -> the arrays that are not KNOWN.  labels: of a single task."""

    arrays: Mapping[str, Array]
    infos: Mapping[str, Array]
    labels: TaskLabels | None
    record: Record
    file: str


@dataclass(frozen=True)
class _Span:
    """A recording's steps: rows [start, end).  number: its place in the file."""

    number: int
    start: int
    end: int


def read(path: Path, dataset: str | None, request: Request) -> Reading:
    """Reader of OGBench files; see the module's docstring.  dataset: the data set's name, where it is known."""
    if request.filter_key is not None:
        raise InputError(f"{path.name} is an .npz file and has no filter keys; {request.filter_key!r} was requested.")
    with open_npz(path) as archive:
        _check_layout(archive)
        return _read(archive, dataset, request)


def _check_layout(archive: NpzArchive) -> None:
    missing = [k for k in _ARRAYS if k not in archive.described]
    if missing and missing[0] in archive.opaque:
        raise InputError(
            f"{archive.path}: the array {missing[0]!r} holds {archive.opaque[missing[0]]}, which is not read; expected "
            "numbers."
        )
    if missing:
        held = ", ".join([*archive.described, *archive.opaque][:8]) or "nothing"
        raise InputError(
            f"{archive.path} has no array {missing[0]!r} (only {held}); expected OGBench's observations, actions and "
            "terminals. For your own arrays, use Demonstrations.from_arrays."
        )
    if "valids" in archive.described:
        raise InputError(
            f"{archive.path} has 'valids': it was saved by ogbench with compact_dataset=True, which marks ends twice. "
            "Use the published file, or save with compact_dataset=False."
        )


def _read(archive: NpzArchive, dataset: str | None, request: Request) -> Reading:
    file = archive.path.name
    whole = Place("the file", file)
    choice = choose({OBS_KEY: archive.described["observations"]}, request.obs_keys, file)
    arrays = {key: archive.read(key) for key in archive.described if key in KNOWN}
    rows = len(np.atleast_1d(arrays["actions"]))
    for key in arrays:
        check_rows(key, len(np.atleast_1d(arrays[key])), rows, whole)
    infos = {
        key: archive.read(key)
        for key, stored in archive.described.items()
        if key not in KNOWN | {RECORD} and stored.shape[:1] == (rows,) and stored.is_numeric and not stored.is_image
    }
    for key in _STATES:  # of another length they would be no extras, and seem to be missing
        if key in archive.described:
            check_rows(key, archive.described[key].shape[0] if archive.described[key].shape else 1, rows, whole)
    spans, notes = _recordings(arrays, whole)
    record = _read_record(archive, len(spans))
    labels = None
    if is_singletask(dataset):
        labels = _labels(str(dataset), arrays, infos, file)
        notes.append(f"rewards are those of {dataset}; {_solved_text(spans, labels.solved)}")
    contents = _Contents(arrays, infos, labels, record, file)
    names = {record.episodes.get(span.number, {}).get("name", f"episode_{span.number}"): span for span in spans}
    if len(names) < len(spans):
        names = {f"episode_{span.number}": span for span in spans}

    def read_one(name: str) -> Episode:
        return _episode(name, names[name], contents)

    episodes = read_each(list(names), read_one, request)
    spec = record.env_spec if dataset is None else f"ogbench:{dataset}"
    if spec is None:
        rewards = "" if "rewards" in arrays else ", and gives it that task's rewards"
        notes.append(
            "the file's name is not that of an OGBench data set, so its environment is unknown. A copy or link called, "
            f"for instance, cube-single-play-singletask-task2-v0.npz names both scene and task{rewards}."
        )
    elif labels is None and "rewards" not in arrays:
        notes.append("there are neither goals nor rewards; name a task for rewards (-singletask-task1- before -v0).")
    demos = Demonstrations(episodes, file, "ogbench", spec, record.env_args, record.attrs)
    unread = archive.opaque | {
        k: f"{v.dtype} {v.shape}" for k, v in archive.described.items() if k not in KNOWN | {RECORD} and k not in infos
    }
    return Reading(demos, tuple(notes), choice.left_out, {}, choice.available, unread=unread)


def _read_record(archive: NpzArchive, recordings: int) -> Record:
    """The record in `archive`; an empty one where there is none, or an array of another meaning has its name."""
    stored = archive.described.get(RECORD)
    if stored is None or stored.dtype != np.uint8 or len(stored.shape) != 1:
        return Record()
    text = archive.read(RECORD).tobytes().decode("utf-8", "replace")
    return parse_record(text, f"{RECORD!r} of {archive.path.name}", recordings, "'terminals'")


def _recordings(arrays: Mapping[str, Array], whole: Place) -> tuple[list[_Span], list[str]]:
    """The steps of each recording, and what is worth telling of them."""
    ends = np.asarray(as_column(arrays["terminals"], "terminals", len(arrays["actions"]), whole) != 0)
    notes = []
    if not ends.any():
        raise whole.error("'terminals' is never set; expected 1 at the last row of each recording")
    if not ends[-1]:
        notes.append("the last recording is cut off: no terminal follows it.")
        ends[-1] = True
    last = np.flatnonzero(ends)
    first = np.concatenate([[0], last[:-1] + 1])
    beside = "next_observations" in arrays  # every row has its own next observation, and an action that was taken
    spans = [_Span(i, int(a), int(b) + beside) for i, (a, b) in enumerate(zip(first, last, strict=True))]
    short = next((i for i, span in enumerate(spans) if span.end <= span.start), None)
    if short is not None:
        raise whole.error(
            f"recording {short} has one row (row {spans[short].start}), an observation without a step,",
            "'terminals' must be 1 at the last row of each recording alone.",
        )
    return spans, notes


def _labels(dataset: str, arrays: Mapping[str, Array], infos: Mapping[str, Array], file: str) -> TaskLabels:
    if "next_observations" in arrays or "rewards" in arrays:
        raise InputError(
            f"{file} was changed after it was recorded (it has rewards or next_observations), so the rewards of "
            f"{dataset} cannot be made. Use the published file."
        )
    labels = relabel(dataset, {k: infos[k] for k in _STATES if k in infos}, file)
    if labels.solved.all():
        raise InputError(f"Every state of {file} solves {dataset}: there is nothing to learn.")
    return labels


def _solved_text(spans: list[_Span], solved: Array) -> str:
    steps = sum(span.end - span.start for span in spans)
    done = sum(int(solved[span.start : span.end].sum()) for span in spans)
    often = sum(bool(solved[span.start : span.end + 1].any()) for span in spans)
    return (
        f"{done} of {steps} steps begin where it is solved, so nothing counts after them, and {often} of "
        f"{len(spans)} recordings solve it."
    )


def _episode(name: str, span: _Span, contents: _Contents) -> Episode:
    place, steps, length = Place(name, contents.file), slice(span.start, span.end), span.end - span.start
    arrays, labels = contents.arrays, contents.labels
    beside = arrays.get("next_observations")
    rows = arrays["observations"][span.start : span.end + (beside is None)]
    obs = as_obs(rows, OBS_KEY, place)
    last = obs[-1] if beside is None else as_obs(beside[span.end - 1 : span.end], OBS_KEY, place)[0]
    known = contents.record.episodes.get(span.number, {})
    stored = arrays.get("rewards") if labels is None else labels.rewards
    rewards = np.zeros(length, np.float32)
    if stored is not None:
        rewards = as_column(stored[steps], "rewards", length, place)
    masks, terminated = _masks(span, contents, place)
    attrs = dict(known.get("attrs", {}))
    attrs.pop("rewards_missing", None)
    if beside is None and contents.infos:
        attrs[FINAL_INFOS] = {k: v[span.end].tolist() for k, v in contents.infos.items()}
    plain = contents.record.plain_extras
    return Episode(
        name=name,
        obs={OBS_KEY: obs[:length]},
        final_obs={OBS_KEY: last} if known.get("final_obs", True) else None,
        actions=as_actions(arrays["actions"][steps], place),
        rewards=rewards,
        terminated=terminated,
        truncated=bool(known.get("truncated", not terminated)) if labels is None else not terminated,
        success=_success(span, contents, place),
        extras={k if k in plain else f"infos/{k}": v[steps] for k, v in contents.infos.items()},
        attrs=attrs | ({"rewards_missing": True} if stored is None else {}),
        masks=masks,
    )


def _masks(span: _Span, contents: _Contents, place: Place) -> tuple[Array | None, bool]:
    """(masks of the steps, whether the state after the last one is worth nothing more)."""
    if contents.labels is not None:
        solved = contents.labels.solved
        masks = ~solved[span.start : span.end]
        return None if masks.all() else masks, bool(solved[span.end])
    stored = contents.arrays.get("masks")
    if stored is None:
        return None, False
    beside = "next_observations" in contents.arrays
    rows = stored[span.start : span.end + (not beside)]
    flags = as_masks(rows, len(rows), place)
    if flags is None:
        return None, False
    masks = flags[: span.end - span.start]
    only_last = masks[:-1].all() and beside  # as `terminated` says
    return None if masks.all() or only_last else masks, not flags[-1]


def _success(span: _Span, contents: _Contents, place: Place) -> Array | None:
    if contents.labels is not None:
        return contents.labels.solved[span.start + 1 : span.end + 1]
    stored = contents.arrays.get("success")
    if stored is None:
        return None
    rows = stored[span.start : span.end]
    return np.asarray(as_column(rows, "success", len(rows), place) > 0.5)
