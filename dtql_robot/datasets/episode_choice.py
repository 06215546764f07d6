"""Which episodes of a source to keep: by number or name, by success, by length or return, without copies."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from dtql_robot.datasets.duplicates import fingerprint
from dtql_robot.errors import InputError
from dtql_robot.types import Demonstrations, Episode


@dataclass(frozen=True)
class Choice:
    """What an episode must be to be kept; every condition that is given must hold.

    keep, drop    numbers from 0 ("3"), ranges ("3..7", both included) or names ("demo_12"); keep: () is all
    only          "success" or "failure"; None is both
    success_rule  whether an episode succeeds by its last step or by any
    lengths       least and largest number of steps; None is no bound
    returns       least and largest sum of rewards
    unique        leave copies of an earlier episode out
    """

    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    only: Literal["success", "failure"] | None = None
    success_rule: Literal["last", "any"] = "last"
    lengths: tuple[int | None, int | None] = (None, None)
    returns: tuple[float | None, float | None] = (None, None)
    unique: bool = False


def choose_episodes(demos: Demonstrations, choice: Choice) -> tuple[Demonstrations, dict[str, int]]:
    """(the chosen episodes in their order, reason -> how many it leaves out).

    The first reason that holds counts: number, success, length, return, copy.  InputError for a number or name that
    is not there, for a condition on what the data does not tell, and where nothing is left.
    """
    kept = _numbers(choice.keep, demos) if choice.keep else set(range(len(demos)))
    dropped = _numbers(choice.drop, demos)
    tests = [*_by_success(demos, choice), *_by_size(demos, choice)]
    left_out: dict[str, int] = {}
    chosen: list[Episode] = []
    seen: set[bytes] = set()
    for number, episode in enumerate(demos.episodes):
        reason = "not chosen" if number not in kept or number in dropped else None
        reason = reason or next((why for why, fits in tests if not fits(episode)), None)
        if reason is None and choice.unique:
            digest = fingerprint(episode)
            reason = "copies" if digest in seen else None
            seen.add(digest)
        if reason is None:
            chosen.append(episode)
        else:
            left_out[reason] = left_out.get(reason, 0) + 1
    if not chosen:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise InputError(f"No episode of {demos.source} is left ({why}); loosen a condition.")
    return Demonstrations(**{**vars(demos), "episodes": tuple(chosen)}), left_out


def _numbers(words: Sequence[str], demos: Demonstrations) -> set[int]:
    """The positions that "3", "3..7", "3,5" and names mean."""
    names = {episode.name: i for i, episode in enumerate(demos.episodes)}
    found: set[int] = set()
    for word in (part.strip() for text in words for part in ([text] if text in names else text.split(","))):
        span = re.fullmatch(r"(\d{1,18})(?:\.\.(\d{1,18}))?", word)
        if word in names:
            found.add(names[word])
        elif span is None:
            raise InputError(
                f"{demos.source} has no episode {word!r}; expected a number from 0 to {len(demos) - 1}, a "
                f"range like 3..7, or a name like {demos.episodes[0].name}."
            )
        else:
            first, last = int(span[1]), int(span[2] or span[1])
            if first > last or last >= len(demos):
                raise InputError(f"{demos.source} has episodes 0 to {len(demos) - 1}, but {word} was requested.")
            found |= set(range(first, last + 1))
    return found


_Test = tuple[str, Callable[[Episode], bool]]


def _by_success(demos: Demonstrations, choice: Choice) -> list[_Test]:
    if choice.only is None:
        return []
    if all(e.success is None for e in demos.episodes):
        raise InputError(f"{demos.source} has no success signal to choose by (--only); --success-reward defines one.")
    wanted = choice.only == "success"

    def fits(episode: Episode) -> bool:
        return (episode.succeeds if choice.success_rule == "any" else episode.ends_in_success) == wanted

    return [
        ("without a success signal", lambda e: e.success is not None),
        ("failures" if wanted else "successes", fits),
    ]


def _by_size(demos: Demonstrations, choice: Choice) -> list[_Test]:
    tests: list[_Test] = []
    (shortest, longest), (least, most) = choice.lengths, choice.returns
    if shortest is not None:
        tests.append(("too short", lambda e: len(e) >= shortest))
    if longest is not None:
        tests.append(("too long", lambda e: len(e) <= longest))
    if (least, most) != (None, None) and any(e.attrs.get("rewards_missing") for e in demos.episodes):
        raise InputError(f"{demos.source} has no rewards to choose by (--min-return, --max-return).")
    if least is not None:
        tests.append(("below the least return", lambda e: float(e.rewards.sum(dtype="f8")) >= least))
    if most is not None:
        tests.append(("above the largest return", lambda e: float(e.rewards.sum(dtype="f8")) <= most))
    return tests
