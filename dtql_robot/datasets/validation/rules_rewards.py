"""Rules of `validate` about success and rewards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dtql_robot.datasets.episode_edits import suggested_reward
from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.validation.findings import Finding, Use, error, names, warning
from dtql_robot.types import Episode

_FIRST_STEPS = 3
_APART = 4.0  # spreads between the first rewards of two groups, from which they are of two formulas
_FEWEST = 2  # episodes that make a group


def success(reading: Reading, use: Use) -> list[Finding]:
    """A missing success signal, or one that never comes on."""
    demos = reading.demos
    unknown = [e for e in demos.episodes if e.success is None]
    if unknown:
        where = demos.source if len(unknown) == len(demos) else f"{names(unknown)} in {demos.source}"
        hint = suggested_reward(demos)
        remedy = "Rewards are used as recorded."
        if hint is not None:
            remedy += (
                f" {hint[1]} of {len(demos)} episodes end at the highest reward, {hint[0]:.9g}; if that means "
                f"success: `train --success-reward {hint[0]:.9g}` (`convert` writes it to a file)."
            )
        if use.reward == "success":
            return [error("no-success", where, "reward=success, but there is no success signal.", remedy)]
        return [warning("no-success", where, "there is no success signal.", remedy)]
    if not any(bool(np.any(e.success)) for e in demos.episodes):
        text = "no episode ever succeeds."
        if use.reward == "success":
            return [error("never-success", demos.source, f"reward=success, but {text}", "Use --reward dataset.")]
        return [warning("never-success", demos.source, text, "Check the success signal of the recording.")]
    return []


def rewards(reading: Reading, use: Use) -> list[Finding]:
    """Rewards that are missing or constant while they would be learnt from."""
    demos = reading.demos
    missing = [e for e in demos.episodes if e.attrs.get("rewards_missing")]
    from_success = use.reward != "dataset" and all(e.success is not None for e in demos.episodes)
    if missing and not from_success:
        return [
            warning(
                "no-rewards",
                f"{names(missing)} in {demos.source}",
                "there are no rewards; zeros are used instead, so the critic learns nothing.",
                "Train with --q-weight 0, or record rewards.",
            )
        ]
    low = min(float(e.rewards.min()) for e in demos.episodes)
    high = max(float(e.rewards.max()) for e in demos.episodes)
    if low == high and not from_success:
        if low and any(e.terminated for e in demos.episodes):
            return [
                warning(
                    "constant-rewards",
                    demos.source,
                    f"every reward is {low:g}: the critic learns only how long an episode lasts.",
                    "Train with --q-weight 0 if that is not intended.",
                )
            ]
        return [
            warning(
                "constant-rewards",
                demos.source,
                f"every reward is {low:g}: the critic learns nothing.",
                "Train with --q-weight 0, or recompute the rewards.",
            )
        ]
    return []


def always_success(reading: Reading, use: Use) -> list[Finding]:
    """A success signal that is on before anything was done: it means something else."""
    demos = reading.demos
    labelled = [e for e in demos.episodes if e.success is not None]
    on = [e for e in labelled if e.success is not None and len(e) > 1 and e.success.all()]
    if not on or len(on) < len(labelled) / 2:
        return []
    return [
        warning(
            "always-success",
            f"{names(on)} in {demos.source}",
            f"{len(on)} of {len(labelled)} episodes "
            "succeed from the first step to the last, so there is nothing to achieve.",
            "Check what the recording's success signal means; if it is not one, use --reward dataset.",
        )
    ]


def mixed_rewards(reading: Reading, use: Use) -> list[Finding]:
    """Episodes whose rewards come from two formulas: what earns more says nothing about what is better."""
    if use.reward == "success":
        return []
    demos = reading.demos
    rewarded = [e for e in demos.episodes if not e.attrs.get("rewards_missing")]
    sparse = [e for e in rewarded if len(np.unique(e.rewards)) == 2]
    dense = [e for e in rewarded if len(np.unique(e.rewards)) > len(e) / 2 > 2]
    if min(len(sparse), len(dense)) >= _FEWEST:
        values = np.unique(sparse[0].rewards)
        return [
            _mixed(
                dense,
                sparse,
                f"{values[0]:g} and {values[1]:g} only in the latter, another value at nearly every step in the former",
                demos.source,
            )
        ]
    if len(np.unique(np.concatenate([np.unique(e.rewards) for e in rewarded] or [np.zeros(1)]))) <= 2:
        return []  # one sparse formula, by which some episodes begin where others end
    for what, groups in _groupings(rewarded):
        one, other = groups
        if min(len(one), len(other)) >= _FEWEST and (how := _differ(one, other)):
            return [_mixed(one, other, f"{what} they {how}", demos.source)]
    return []


def _mixed(one: Sequence[Episode], other: Sequence[Episode], how: str, source: str) -> Finding:
    return warning(
        "mixed-rewards",
        f"{names(one)} and {names(other)} in {source}",
        f"their rewards ({len(one)} and {len(other)} episodes) follow two formulas: {how}.",
        "Train on one kind with --filter-key, or recompute the rewards; --reward success does not use them.",
    )


def _groupings(episodes: Sequence[Episode]) -> list[tuple[str, tuple[list[Episode], list[Episode]]]]:
    """Ways to divide episodes in two that a mixture of recordings leaves traces of."""

    def divide(belongs: Sequence[bool]) -> tuple[list[Episode], list[Episode]]:
        pairs = list(zip(episodes, belongs, strict=True))
        return [e for e, yes in pairs if yes], [e for e, yes in pairs if not yes]

    found = [
        ("with and without a success signal", divide([e.success is not None for e in episodes])),
        ("with and without costs", divide([bool(e.rewards.min(initial=0) < 0) for e in episodes])),
    ]
    sources = [e.name.rpartition(" of ")[2] for e in episodes]
    found += [(f"from {s} and from others", divide([s == x for x in sources])) for s in sorted(set(sources))[1:]]
    attributes = sorted({k for e in episodes for k in e.attrs})
    found += [(f"with and without attribute {k!r}", divide([k in e.attrs for e in episodes])) for k in attributes]
    return found


def _differ(one: Sequence[Episode], other: Sequence[Episode]) -> str | None:
    """How the rewards of two groups differ although both begin in the same situations; None where they may agree.

    Only the first steps are compared: later ones are better where the robot is, whatever the formula.
    """
    a, b = (np.concatenate([e.rewards[:_FIRST_STEPS] for e in group]).astype(np.float64) for group in (one, other))
    spread = max(a.std(), b.std(), 1e-6 * max(np.abs(a).max(), np.abs(b).max()))
    overlap = min(a.max(), b.max()) >= max(a.min(), b.min())
    if overlap or abs(a.mean() - b.mean()) <= _APART * spread:
        return None
    return f"begin at {a.min():.4g} to {a.max():.4g} and at {b.min():.4g} to {b.max():.4g}"
