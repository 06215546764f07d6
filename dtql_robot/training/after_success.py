"""Recordings that go on when the task is done: how much of what follows is learned.

Where a success at any step counts, what comes after the first one is mostly a robot that holds still.  A recorder that
stops after a fixed number of steps can make that most of the data, and then it is most of what the networks learn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dtql_robot.config import AfterSuccess
from dtql_robot.env_record import SuccessRule
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations, Episode

HELD_SHARE = 1 / 3
"""Steps that are kept after the first success, as a share of those before it."""

LEAST_HELD = 10
"""Steps that are kept after the first success at least."""

WORTH_CUTTING = 0.1
"""Share of all steps from which leaving them out is worth it."""

STAYS = 0.5
"""Share of the steps after the first success that succeed too, from which the task is said to stay done.  Where it does
not, the recording does it again, or does another task."""


def choose_after_success(demos: Demonstrations, choice: AfterSuccess, rule: SuccessRule) -> AfterSuccess:
    """Resolve "auto": "cut" where a success at any step counts, it stays one, and much is left out; else "all".

    rule: which steps of an episode say that it succeeded.
    InputError for "cut" where no episode has a success signal.
    """
    if choice == "cut" and all(e.success is None for e in demos.episodes):
        raise InputError(f"after_success=cut, but {demos.source} has no success signal to cut at.")
    if choice != "auto":
        return choice
    if rule == "last" or any(e.masks is not None for e in demos.episodes):
        return "all"
    long = [e for e in demos.episodes if _kept(e) < len(e)]
    if sum(len(e) - _kept(e) for e in long) < WORTH_CUTTING * demos.num_transitions:
        return "all"
    follows = np.concatenate([e.success[_first(e) + 1 :] for e in long if e.success is not None])
    return "cut" if follows.mean() >= STAYS else "all"


def cut_after_success(episodes: Sequence[Episode]) -> tuple[Episode, ...]:
    """The episodes up to a while after their first success; whole where none follows a step that fails."""
    return tuple(e.part(0, _kept(e)) if _kept(e) < len(e) else e for e in episodes)


def left_out(demos: Demonstrations) -> str:
    """What `cut_after_success` leaves out of the demonstrations, a sentence for the user."""
    cut = [len(e) - _kept(e) for e in demos.episodes if _kept(e) < len(e)]
    return (
        f"{len(cut)} of {len(demos)} recordings go on after they succeed: of what follows, a third as many steps as it "
        f"took are learned, so {sum(cut):,} of {demos.num_transitions:,} transitions are left out (--after-success all "
        "turns this off)."
    )


def _first(episode: Episode) -> int:
    """The first step that succeeds; 0 if none does."""
    return 0 if episode.success is None else int(np.argmax(episode.success))


def _kept(episode: Episode) -> int:
    """Steps of the episode that are learned."""
    before = _first(episode)
    return min(len(episode), before + 1 + max(LEAST_HELD, round(before * HELD_SHARE))) if before else len(episode)
