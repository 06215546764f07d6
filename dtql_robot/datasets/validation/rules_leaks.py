"""Rule of `validate`: an observation that already holds the action.

A policy trained on it learns to copy, and at evaluation there is nothing to copy yet.  What gives it away is that the
rest of a linear fit is small against the change of the action from one step to the next.  An observation of the *last*
action, or of a joint that follows its target, misses the action by about that change; many robots have those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.validation.findings import Finding, Use, some_episodes, warning
from dtql_robot.datasets.validation.rules_actions import says_absolute
from dtql_robot.types import Array, Demonstrations, is_image

_AHEAD = 4  # steps: an observation may hold an action of the near future, too
_REST = 1e-3  # of the action's variance
_REST_OF_CHANGE = 1e-2  # of the mean squared change from step to step
_ROWS, _FEWEST = 4000, 20
_WIDEST = 256  # entries of an observation that are looked at
_COMMAND = re.compile(r"target|command|cmd|setpoint|set_point|reference|datagen|action", re.IGNORECASE)


@dataclass(frozen=True)
class _Actions:
    """The actions `ahead` steps after each observation, centred (N, A), and how large a rest may be for each entry."""

    ahead: int
    values: Array
    allowed: Array


def action_in_obs(reading: Reading, use: Use) -> list[Finding]:
    """Observations that equal or determine the action of the same step or of one to come."""
    demos = some_episodes(reading.demos, _ROWS)
    keys = [k for k, s in demos.obs_shapes.items() if not is_image(s, demos.episodes[0].obs[k].dtype)]
    found: dict[str, Finding] = {}
    poses = says_absolute(demos.env_args)  # a pose to go to is close to where the hand is, and may be just that
    for actions in _actions(demos):
        usual = [k for k in keys if not poses or actions.ahead or _COMMAND.search(k)]
        obs = {k: _rows(demos, k, actions.ahead) for k in usual}
        for key, rows in obs.items():
            if key not in found and (what := _copies(rows, actions) or _combines(rows, actions)):
                found[key] = _finding(f"observation {key!r}", what, actions.ahead, demos)
        if not actions.ahead:
            found |= {k: _finding(k, what, 0, demos) for k, what in _differences(obs, found, actions).items()}
    return list(found.values())


def _finding(what: str, dims: Sequence[int], ahead: int, demos: Demonstrations) -> Finding:
    when = "the same step" if not ahead else "the next step" if ahead == 1 else f"{ahead} steps later"
    which = ", ".join(map(str, dims[:8])) + (", ..." if len(dims) > 8 else "")
    entries = "entry" if len(dims) == 1 else "entries"
    return warning(
        "action-in-obs",
        f"{what} in {demos.source}",
        f"it determines {entries} {which} of the action of "
        f"{when}: a policy learns to copy it, and in evaluation there is nothing to copy.",
        "Choose the other observations with --obs-keys.",
    )


def _actions(demos: Demonstrations) -> Iterator[_Actions]:
    rows = np.concatenate([e.actions for e in demos.episodes]).astype(np.float64)
    changes = [np.square(np.diff(e.actions.astype(np.float64), axis=0)) for e in demos.episodes if len(e) > 1]
    if not changes or len(rows) < _FEWEST:
        return
    change = np.concatenate(changes).mean(axis=0)
    for ahead in range(_AHEAD + 1):
        parts = [e.actions[ahead:] for e in demos.episodes]
        values = _thin(np.concatenate(parts).astype(np.float64))
        if len(values) >= _FEWEST:
            values = values - values.mean(axis=0)
            allowed = np.minimum(_REST * np.square(values).mean(axis=0), _REST_OF_CHANGE * change)
            yield _Actions(ahead, values, allowed)


def _rows(demos: Demonstrations, key: str, ahead: int) -> Array:
    """The observations that have an action `ahead` steps later, centred, (N, W)."""
    rows = np.concatenate([e.obs[key].reshape(len(e), -1)[: max(0, len(e) - ahead)] for e in demos.episodes])
    thin = _thin(rows[:, :_WIDEST]).astype(np.float64)
    return thin - thin.mean(axis=0)


def _thin(rows: Array) -> Array:
    return rows[:: max(1, len(rows) // _ROWS)]


def _copies(rows: Array, actions: _Actions) -> list[int]:
    """Action entries that one entry of the observation holds, in whatever unit."""
    return _determined(_rest_of_best(rows, actions), actions)


def _combines(rows: Array, actions: _Actions) -> list[int]:
    """Action entries that the observation's entries add up to, where it has as many of them: turned or mixed copies."""
    if rows.shape[1] != actions.values.shape[1] or len(rows) < 10 * rows.shape[1]:
        return []
    scale = np.sqrt(np.square(rows).mean(axis=0))
    scaled = rows / np.where(scale > 0, scale, 1.0)
    weights = np.linalg.lstsq(scaled, actions.values, rcond=1e-9)[0]
    rest = np.square(actions.values - scaled @ weights).mean(axis=0)
    moving = int((actions.allowed > 0).sum())
    dims = _determined(rest, actions)
    return dims if len(dims) == moving else []


def _differences(obs: Mapping[str, Array], found: Mapping[str, Finding], actions: _Actions) -> dict[str, list[int]]:
    """A commanded pose and the present one whose difference is the action: description -> action entries."""
    told: dict[str, list[int]] = {}
    for target in (k for k in obs if _COMMAND.search(k) and k not in found):
        for key in (k for k in obs if k != target and not _COMMAND.search(k)):
            rest = np.square(actions.values).mean(axis=0)
            for column in obs[target].T:
                differences = column[:, None] - obs[key]
                rest = np.minimum(rest, _rest_of_best(differences, actions))
            if dims := _determined(rest, actions):
                told[f"observation {target!r} minus {key!r}"] = dims
                break
    return told


def _rest_of_best(rows: Array, actions: _Actions) -> Array:
    """(A,) mean square that is left of each action entry by the one column of rows (N, W) that explains it best."""
    power = np.square(rows).mean(axis=0)
    shared = np.square(rows.T @ actions.values / len(rows))
    explained = np.divide(shared, power[:, None], out=np.zeros_like(shared), where=power[:, None] > 0)
    return np.asarray(np.square(actions.values).mean(axis=0) - explained.max(axis=0, initial=0.0))


def _determined(rest: Array, actions: _Actions) -> list[int]:
    return np.flatnonzero((rest < actions.allowed) & (actions.allowed > 0)).tolist()
