"""Which demonstrations the policy is to behave like: all of them, or those that do the task.

The critic learns from every episode; what denoiser, likelihood and trust region call behaviour are these.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from dtql_robot.config import BehaviourChoice
from dtql_robot.env_record import SuccessRule
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Demonstrations, Episode

ENOUGH = 25
"""Episodes that are enough to learn from alone (docs/recipe.md)."""

SEPARATION = 0.8
"""Share of the returns' variance that lies between two groups, from which they stand apart: of uniform returns it is
.75, of normal ones .64."""


@dataclass(frozen=True)
class Behaviour:
    """What was decided.

    demos   the episodes to learn from: all, less those that nobody labelled where successes are chosen, and with
            recordings cut up where solutions are
    good    (episodes,) True for those whose behaviour is learned; the critic learns from all of `demos`
    choice  "all", "successes", "returns" or "solutions"
    why     one sentence for the user
    """

    demos: Demonstrations
    good: Array
    choice: BehaviourChoice
    why: str

    @property
    def shown(self) -> Demonstrations:
        """The episodes whose behaviour is learned."""
        return replace(self.demos, episodes=tuple(itertools.compress(self.demos.episodes, self.good)))


def choose_behaviour(
    demos: Demonstrations, choice: BehaviourChoice, rule: SuccessRule, discount: float = 0.99
) -> Behaviour:
    """Resolve "auto": successes where enough are labelled, high returns where those stand apart, else all.

    Recordings that go on when the task is done (`Episode.masks`) hold much that is not about it: of these, what leads
    to where it is done, if that happens often enough, else all.

    rule: which steps of an episode say that it succeeded.  discount: a step, by which the critic counts.  InputError
    for a choice that the data cannot serve.
    """
    if choice == "solutions" or (choice == "auto" and any(e.masks is not None for e in demos.episodes)):
        return _solutions(demos, choice, discount)
    labelled = tuple(e for e in demos.episodes if e.success is not None)
    good = np.array([succeeds(e, rule) for e in labelled], bool)
    if choice == "successes" and not good.any():
        raise InputError(f"behaviour=successes, but no episode of {demos.source} is labelled a success.")
    if choice == "successes" or (choice == "auto" and good.sum() >= ENOUGH):
        return _successes(demos, labelled, good)
    if choice == "returns" or (choice == "auto" and not labelled):
        found = _high_returns(demos)
        if choice == "returns" and found is None:
            raise InputError(f"behaviour=returns, but the returns of {demos.source} do not fall into two groups.")
        if found is not None and (choice == "returns" or found.good.sum() >= ENOUGH):
            return found
    why = "behaviour: all episodes"
    if choice == "auto" and not labelled:
        why += " (none is labelled, and their returns do not fall into two groups)"
    elif choice == "auto":
        why += f" ({good.sum()} are labelled successes; with {ENOUGH} or more, only those would be used)"
    return Behaviour(demos, np.ones(len(demos), bool), "all", f"{why}.")


def succeeds(episode: Episode, rule: SuccessRule) -> bool:
    """Whether an episode succeeded by its environment's rule; False where it has no label."""
    return episode.ends_in_success if rule == "last" else episode.success is not None and bool(np.any(episode.success))


def split_returns(returns: Array) -> float | None:
    """Otsu's threshold (1979) where it leaves `SEPARATION` of the variance between the two groups, else None."""
    values = np.sort(returns.astype(np.float64))
    total, count = values.var(), len(values)
    if count < 2 or total <= 1e-12 * max(1.0, float(np.abs(values).max())) ** 2:
        return None
    low = np.arange(1, count)
    sums = np.cumsum(values)
    means = sums[:-1] / low, (sums[-1] - sums[:-1]) / (count - low)
    between = low * (count - low) / count**2 * (means[0] - means[1]) ** 2
    between[values[1:] == values[:-1]] = 0.0
    best = int(np.argmax(between))
    return float((values[best] + values[best + 1]) / 2) if between[best] >= SEPARATION * total else None


def _successes(demos: Demonstrations, labelled: tuple[Episode, ...], good: Array) -> Behaviour:
    if good.all() and len(labelled) == len(demos):
        return Behaviour(demos, good, "all", f"behaviour: all {len(demos)} episodes; all succeed.")
    why = f"behaviour is learned from the {good.sum()} of {len(labelled)} labelled episodes that succeed"
    why += ", the critic from all of these" if not good.all() else ""
    unlabelled = len(demos) - len(labelled)
    why += f"; {unlabelled} without a label are left out" if unlabelled else ""
    kept = replace(demos, episodes=labelled) if unlabelled else demos
    return Behaviour(kept, good, "successes", f"{why} (--behaviour all turns this off).")


def _high_returns(demos: Demonstrations) -> Behaviour | None:
    returns = np.array([float(e.rewards.sum(dtype=np.float64)) for e in demos.episodes])
    threshold = split_returns(returns)
    if threshold is None:
        return None
    good = returns > threshold
    why = f"no episode is labelled, but their returns fall into two groups: behaviour is learned from the {good.sum()} "
    why += f"of {len(demos)} above {threshold:.4g}, the critic from all (--behaviour all turns this off)."
    return Behaviour(demos, good, "returns", why)


def _solutions(demos: Demonstrations, choice: BehaviourChoice, discount: float) -> Behaviour:
    """What leads to where the task is done, cut out of recordings that go on; the rest is left to the critic."""
    ahead = round(1 / (1 - discount)) if discount < 1 else max(map(len, demos.episodes))
    cut = [cut_solutions(e, ahead) for e in demos.episodes]
    pieces, good = zip(*itertools.chain.from_iterable(cut), strict=True)
    count = sum(good)
    if choice == "solutions" and not count:
        raise InputError(f"behaviour=solutions, but no recording of {demos.source} continues after the task is done.")
    if count >= ENOUGH or choice == "solutions":
        why = f"the recordings continue after the task is done, which happens {count} times: behaviour is learned from "
        why += f"up to {ahead} steps before each, the critic from all (--behaviour all turns this off)."
        return Behaviour(replace(demos, episodes=pieces), np.array(good, bool), "solutions", why)
    why = "behaviour: all recordings; they continue after the task is done, so none is a success or a failure, and "
    why += f"it is done {count} times, which is too few to learn from alone (at least {ENOUGH} are needed)."
    return Behaviour(demos, np.ones(len(demos), bool), "all", why)


def cut_solutions(episode: Episode, ahead: int) -> list[tuple[Episode, bool]]:
    """The parts of a recording in turn, and whether each leads to the task's being done.

    Such a part ends with the step that begins where it is done, and has up to `ahead` steps before that; not those of
    an earlier time that it was.  Parts share no step, and what follows a part is its `final_obs`.
    """
    done = np.zeros(len(episode), bool) if episode.masks is None else ~np.asarray(episode.masks, bool)
    begins = np.flatnonzero(done & ~np.concatenate([[False], done[:-1]]))
    bounds, good = [0], list[bool]()
    for first in map(int, begins[begins > 0]):
        earlier = np.flatnonzero(done[:first])
        start = max(bounds[-1], first - ahead, int(earlier[-1]) + 1 if len(earlier) else 0)
        for stop, leads in ((start, False), (first + 1, True)):
            if stop > bounds[-1]:
                bounds, good = [*bounds, stop], [*good, leads]
    if bounds[-1] < len(episode):
        bounds, good = [*bounds, len(episode)], [*good, False]
    return [(episode.part(*ends), leads) for ends, leads in zip(itertools.pairwise(bounds), good, strict=True)]
