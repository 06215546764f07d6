"""Where the episodes of a D4RL file end, and how.

By definition `terminals` marks terminal states and `timeouts` ends without one.  Files break this in two ways.

`timeouts` inside episodes.  Some human demonstrations (door-human and its siblings) set it where a step counter passed
200, in the middle of each demonstration, and `terminals` at the end of each recording, success or not.  Observations
jump where an environment was reset and only there, so `timeouts` is disregarded when all of:
1. `terminals` splits the file, and at most of these splits the observation jumps by more than it does in 99% of
   ordinary steps, so a reset is visible in this file;
2. at 95% or more of the timeouts it does not jump so.
The jump from row t to t + 1 is the Euclidean distance, each dimension in units of its standard deviation, between
the next observation expected after t (`next_observations[t]` where stored, else `observations[t]`) and
`observations[t + 1]`.  In such a file `terminals` is the end of the recording rather than a terminal state.

Ends that nobody marked (no `timeouts`, or never set).  In this order:
1. `episode_length` says after how many steps an episode ends that is not marked to end earlier;
2. where `next_observations` is recorded, an episode ends wherever it is not the next row of `observations`;
3. else it ends where the observations jump as at a reset, see `resets`;
4. a file without any end is refused, since nothing tells one long episode from many.

How it ended.  terminals -> terminated; all others -> truncated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dtql_robot.datasets.formats.resets import jump_sizes, visible_resets
from dtql_robot.errors import InputError
from dtql_robot.types import Array, is_image

_SAME = 1e-3  # standard deviations up to which two observations are one
_SHUFFLED = 0.5  # share of rows that do not follow each other, from which they are no recording


@dataclass(frozen=True)
class Ends:
    """last: (E,) row of each episode's last step.  terminated, truncated: (E,) bool.  notes: how they were found."""

    last: Array
    terminated: Array
    truncated: Array
    notes: tuple[str, ...]


def find_ends(
    obs: Array, next_obs: Array | None, terminals: Array, timeouts: Array | None, episode_length: int | None, file: str
) -> Ends:
    """Rows (N,) at which episodes end, by the rule in the module's docstring.

    obs, next_obs: (N, ...).  terminals, timeouts: (N,) bool.  InputError where no end can be found.
    """
    rows = len(obs)
    cuts = np.zeros(rows, bool) if timeouts is None else timeouts
    flat = None if is_image(obs.shape[1:], obs.dtype) else obs.reshape(rows, -1)
    expected = None if next_obs is None or flat is None else next_obs.reshape(rows, -1)
    if flat is not None and _timeouts_are_inside(flat, expected, terminals, cuts):
        note = (
            f"{int(cuts.sum())} 'timeouts' lie inside episodes (the observations continue without a jump) and are "
            "ignored; episodes end at 'terminals', taken as ends of recordings (truncated)."
        )
        return _ends(terminals, np.zeros(rows, bool), np.ones(rows, bool), (note,))
    marks = terminals | cuts
    if episode_length is not None:
        found, note = _every(marks, episode_length), f"episodes end after {episode_length} steps (episode_length)."
    else:
        found, note = _unmarked(flat, expected, marks, bool(cuts.any()), file)
        if not (marks | found).any():
            raise InputError(
                f"{file} marks no ends of episodes ('terminals' and 'timeouts' are never set) and its "
                "observations show no resets, so episodes cannot be told apart. Pass their length with "
                "--episode-length N."
            )
    notes = (note,) if found.any() else ()
    if timeouts is None and not found.any():
        notes = ("the file has no 'timeouts': episodes are split only at 'terminals'.",)
    return _ends(marks | found, terminals, cuts, notes)


def marked_ends(terminals: Array, timeouts: Array | None) -> Ends:
    """Ends exactly where the flags (N,) say, and at the last row, for files whose writer is known to mean that."""
    cuts = np.zeros(len(terminals), bool) if timeouts is None else timeouts
    return _ends(terminals | cuts, terminals, cuts, ())


def _ends(marks: Array, terminals: Array, cuts: Array, notes: tuple[str, ...]) -> Ends:
    last = np.union1d(np.flatnonzero(marks), [len(marks) - 1])
    terminated = terminals[last]
    return Ends(last, terminated, ~terminated | cuts[last], notes)


def _every(marks: Array, length: int) -> Array:
    """Ends after `length` steps without a marked one."""
    if not 1 <= length < 2**62:
        raise InputError(f"The episode length is {length}; expected 1 or more steps, below 2**62.")
    rows = np.arange(len(marks))
    start = np.maximum.accumulate(np.where(np.r_[True, marks[:-1]], rows, 0))
    return np.asarray((rows - start + 1) % length == 0) & ~marks


def _unmarked(flat: Array | None, expected: Array | None, marks: Array, timed: bool, file: str) -> tuple[Array, str]:
    """Ends beside the marked ones, and the sentence that tells of them."""
    nothing = np.zeros(len(marks), bool)
    if flat is None or len(flat) < 2:
        return nothing, ""
    if expected is not None:
        breaks = np.append(_breaks(flat, expected), False)
        if breaks.mean() > _SHUFFLED and not marks[:-1].any():
            raise InputError(
                f"Rows of {file} do not follow each other: next_observations[t] is observations[t + 1] "
                f"in {1 - breaks.mean():.0%} of them. Shuffled transitions are not "
                "demonstrations; use the data set as it was recorded."
            )
        splits = marks[:-1]
        tells = breaks.any() and (not splits.any() or breaks[:-1][splits].mean() >= 0.5)
        if tells and breaks.mean() <= _SHUFFLED:
            found = breaks & ~marks
            return found, (
                f"{found.sum()} episodes end without a mark, where next_observations is not the next row "
                "of observations (truncated)."
            )
    if timed:
        return nothing, ""
    found = np.append(visible_resets(jump_sizes(flat)), False) & ~marks
    return found, f"{found.sum()} episodes end without a mark, where the observations jump as at a reset (truncated)."


def _breaks(flat: Array, expected: Array) -> Array:
    """(N - 1,) whether the observation that follows row t is another than row t + 1."""
    scale = flat.std(axis=0, dtype=np.float64)
    allowed = _SAME * scale + 1e-5 * np.abs(flat).max(axis=0)
    return np.asarray((np.abs(flat[1:].astype(np.float64) - expected[:-1]) > allowed).any(axis=1))


def _timeouts_are_inside(flat: Array, expected: Array | None, terminals: Array, timeouts: Array) -> bool:
    splits, cuts = terminals[:-1], timeouts[:-1] & ~terminals[:-1]
    ordinary = ~(splits | cuts)
    if not (splits.any() and cuts.any() and ordinary.any()):
        return False
    rows = flat.astype(np.float64)
    before = rows if expected is None else expected.astype(np.float64)
    scale = rows.std(axis=0)
    moving = scale > 0
    jump = np.linalg.norm((rows[1:] - before[:-1])[:, moving] / scale[moving], axis=1)
    limit = np.quantile(jump[ordinary], 0.99)
    return bool(np.median(jump[splits]) > limit and np.mean(jump[cuts] <= limit) >= 0.95)
