"""Reader of LeRobot folders.

How an episode ended.  What this package noted when it wrote the folder is taken as it is.  Else an episode that ends in
success is terminated, where success is known; else `next.done` at the last step means terminated where `next.truncated`
is there and is not set, or where it is set in some episodes only; everything else was cut off.

Success.  `next.success`; else an attribute of the episode in meta/episodes (`success`, ...); else, where all rewards
are 0 or 1 and 1 is no reward for staying alive, reward == 1; else not known.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.episode_checks import Place, as_actions, as_column, as_masks, as_obs
from dtql_robot.datasets.formats.labels import success_of_attrs, why_no_success
from dtql_robot.datasets.formats.lerobot.episode_rows import Rows
from dtql_robot.datasets.formats.lerobot.features import DONE, MASKS, TRUNCATED, Roles, Source
from dtql_robot.datasets.formats.lerobot.folder import FETCH, OWN
from dtql_robot.datasets.formats.lerobot.images import decode_into
from dtql_robot.datasets.formats.lerobot.meta import Meta, Recording
from dtql_robot.datasets.formats.lerobot.plan import Plan
from dtql_robot.datasets.formats.reading import (
    ObsChoice,
    Reading,
    Request,
    choose,
    copies_of_actions,
    notes_on,
    read_each,
)
from dtql_robot.env_record import check_record
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode


@dataclass(frozen=True)
class _Conventions:
    """What all chosen episodes together tell about rewards and ends."""

    reward_is_success: bool = False
    why_no_success: str | None = None
    done_is_terminal: bool = False


def read(planned: Plan, request: Request) -> Reading:
    """The demonstrations that `plan` chose; see the module's docstring for the rules."""
    meta, roles = planned.meta, planned.roles
    first = planned.chosen[0]
    with contextlib.closing(Rows(meta, roles, planned)) as rows:
        available = {key: source.stored(first.steps) for key, source in roles.obs.items()}

        def copies() -> frozenset[str]:
            actions = rows.numbers(first, roles.actions.name)
            return copies_of_actions(available, actions, lambda key: rows.observation(first, roles.obs[key]))

        choice = choose(available, planned.keys, str(meta.root), copies)
        conventions = _conventions(rows, planned)
        by_name = {r.name: r for r in planned.chosen}
        rows.start(choice.keys)
        episodes = read_each(
            list(by_name), lambda name: _episode(rows, by_name[name], choice, conventions, meta), request
        )
    env_args = check_record(meta.own["env_args"], str(meta.root / OWN)) if meta.own.get("env_args") else {}
    demos = Demonstrations(episodes, str(meta.root), "lerobot", meta.own.get("env_spec"), env_args, _attrs(meta))
    named = {k: [f"episode_{i}" for i in v] for k, v in meta.splits.items()}
    return Reading(
        demos,
        (*_notes(demos, conventions), *notes_on(choice)),
        choice.left_out,
        named,
        choice.available,
        tuple(r.name for r in meta.recordings),
        roles.unread,
    )


def _conventions(rows: Rows, planned: Plan) -> _Conventions:
    """From rewards and ends of all chosen episodes, where nothing better is there."""
    roles, features = planned.roles, planned.meta.features
    if roles.success is not None or all(r.own is not None for r in planned.chosen):
        return _Conventions()
    rewards: list[Array] = []
    done_at_end: set[bool] = set()
    for recording in planned.chosen:
        with contextlib.suppress(InputError):  # told where the episode itself is read
            if roles.rewards is not None:
                rewards.append(rows.numbers(recording, roles.rewards))
            if DONE in features:
                done_at_end.add(bool(rows.numbers(recording, DONE)[-1].any()))
    values = set(np.unique(np.concatenate([r.ravel() for r in rewards])).tolist()) if rewards else set()
    why = why_no_success(rewards) if values <= {0.0, 1.0} and 1.0 in values else None
    labelled = any(success_of_attrs(r.attrs, r.steps) is not None for r in planned.chosen)
    binary = values <= {0.0, 1.0} and 1.0 in values and not labelled
    return _Conventions(binary and why is None, why if binary else None, len(done_at_end) == 2)


def _episode(rows: Rows, recording: Recording, choice: ObsChoice, conventions: _Conventions, meta: Meta) -> Episode:
    place = Place(recording.name, str(meta.root))
    own, roles = recording.own or {}, rows.roles
    actions = as_actions(rows.numbers(recording, roles.actions.name), place)
    steps = len(actions)
    attrs = _episode_attrs(recording, rows)
    if roles.rewards is None or own.get("rewards") is False:
        rewards = np.zeros(steps, np.float32)
        attrs["rewards_missing"] = True
    else:
        rewards = as_column(rows.numbers(recording, roles.rewards), roles.rewards, steps, place)
    success = _success(rows, recording, rewards, conventions, place)
    obs = {key: _observation(rows, recording, roles.obs[key], key, place) for key in choice.keys}
    noted = own.get("masks") and MASKS in meta.features
    terminated, truncated = _ending(rows, recording, success, conventions)
    return Episode(
        name=recording.name,
        obs=obs,
        final_obs=_final_obs(own.get("final_obs"), roles, obs, place),
        actions=actions,
        rewards=rewards,
        terminated=terminated,
        truncated=truncated,
        success=success,
        extras=_extras(rows, recording),
        attrs=attrs,
        masks=as_masks(rows.numbers(recording, MASKS), steps, place) if noted else None,
    )


def _observation(rows: Rows, recording: Recording, source: Source, key: str, place: Place) -> Array:
    if source.feature.is_picture:
        return rows.pictures(recording, source.feature, key, place)
    return as_obs(rows.observation(recording, source), key, place)


def _success(rows: Rows, recording: Recording, rewards: Array, conventions: _Conventions, place: Place) -> Array | None:
    name = rows.roles.success
    if name is not None and (recording.own or {}).get("success", True):
        return np.asarray(as_column(rows.numbers(recording, name), name, len(rewards), place) > 0.5)
    if recording.own is not None:
        return None
    labelled = success_of_attrs(recording.attrs, len(rewards))
    if labelled is None and conventions.reward_is_success:
        return np.asarray(rewards == 1.0)
    return labelled


def _ending(rows: Rows, recording: Recording, success: Array | None, conventions: _Conventions) -> tuple[bool, bool]:
    """(terminated, truncated)."""
    own, features = recording.own or {}, rows.meta.features
    terminated = success is not None and bool(success[-1])
    if success is None and DONE in features:
        done = bool(rows.numbers(recording, DONE)[-1].any())
        if TRUNCATED in features:
            terminated = done and not rows.numbers(recording, TRUNCATED)[-1].any()
        elif conventions.done_is_terminal:
            terminated = done
    terminated = bool(own.get("terminated", terminated))
    return terminated, bool(own.get("truncated", not terminated))


def _extras(rows: Rows, recording: Recording) -> dict[str, Array]:
    found = {
        name: rows.numbers(recording, feature.name).reshape(recording.steps, *shape)
        for name, (feature, shape) in rows.roles.extras.items()
    }
    tasks = rows.tasks(recording)
    if len(tasks) > 1:  # which of attrs["tasks"] each step is of
        numbers = rows.numbers(recording, "task_index").reshape(-1)
        order = {n: i for i, n in enumerate(dict.fromkeys(numbers.tolist()))}
        found["task_index"] = np.array([order[n] for n in numbers.tolist()], np.int64)
    times = rows.uneven_times(recording)
    return found if times is None else {**found, "timestamp": times}


def _episode_attrs(recording: Recording, rows: Rows) -> dict[str, Any]:
    if recording.own is not None:
        noted = recording.own.get("attrs", {})
        attrs = dict(noted) if isinstance(noted, dict) else {}
    else:
        attrs = dict(recording.attrs)
    tasks = rows.tasks(recording) or list(recording.tasks)
    if recording.own is not None and not recording.own.get("task", True):
        return attrs  # the writer had to put something there
    if len(tasks) > 1:
        attrs["tasks"] = tasks
    elif tasks and tasks[0]:
        attrs["task"] = tasks[0]
    return attrs


def _final_obs(noted: Any, roles: Roles, obs: dict[str, Array], place: Place) -> dict[str, Array] | None:
    """The observation after the last action, as the writer noted it."""
    if not isinstance(noted, dict) or not all(key in noted for key in obs):
        return None
    found = {}
    for key, rows in obs.items():
        try:
            if roles.obs[key].feature.is_picture:
                out = np.empty((1, *rows.shape[1:]), np.uint8)
                decode_into(out, [base64.b64decode(noted[key], validate=True)], f"final {key}", place)
                found[key] = out[0]
            else:
                found[key] = as_obs(np.asarray(noted[key], rows.dtype).reshape(1, *rows.shape[1:]), key, place)[0]
        except (ValueError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise place.error(f"the final observation {key!r} is damaged ({error})", FETCH) from error
    return found


def _attrs(meta: Meta) -> dict[str, Any]:
    if "attrs" in meta.own:
        return dict(meta.own["attrs"])
    names = {name: f.names for name, f in meta.features.items() if f.is_number and f.names}
    found: dict[str, Any] = {"fps": meta.fps}
    return found | ({"robot_type": meta.robot_type} if meta.robot_type else {}) | ({"names": names} if names else {})


def _notes(demos: Demonstrations, conventions: _Conventions) -> Sequence[str]:
    notes = []
    if conventions.reward_is_success:
        notes.append("success is read from the rewards (all are 0 or 1; 1 is success).")
    elif conventions.why_no_success:
        notes.append(f"a reward of 1 is not taken for success: {conventions.why_no_success}, as for staying alive.")
    if demos.env_spec is None:
        notes.append("a LeRobot data set does not name its environment.")
    return notes
