"""Everything in a set of demonstrations that would make training or evaluation wrong, and what is suspicious."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dtql_robot.datasets.formats.reading import Reading
from dtql_robot.datasets.loader import read_source
from dtql_robot.datasets.validation import (
    rules_actions,
    rules_episodes,
    rules_file,
    rules_leaks,
    rules_rewards,
    rules_scale,
)
from dtql_robot.datasets.validation.findings import Finding, Use, Validation, error
from dtql_robot.errors import InputError

Rule = Callable[[Reading, Use], "list[Finding]"]
RULES: tuple[Rule, ...] = (
    rules_actions.outside,
    rules_actions.absolute,
    rules_scale.constants,
    rules_scale.outliers,
    rules_leaks.action_in_obs,
    rules_rewards.success,
    rules_rewards.always_success,
    rules_rewards.rewards,
    rules_rewards.mixed_rewards,
    rules_episodes.endings,
    rules_episodes.short,
    rules_episodes.shorter_than_chunks,
    rules_episodes.final_obs,
    rules_episodes.next_obs,
    rules_episodes.jumps,
    rules_episodes.duplicates,
    rules_episodes.sample_counts,
    rules_file.images,
    rules_file.filter_keys,
    rules_file.versions,
)
_MOST = 20  # findings of one kind that are spelled out


def validate(
    data: str | Path,
    *,
    filter_key: str | None = None,
    success_reward: float | None = None,
    episode_length: int | None = None,
    use: Use | None = None,
) -> Validation:
    """Check a source as `load` would read it.  Never raises for a fault of the file: that becomes an error in the
    findings."""
    use = use or Use()
    problems: list[str] = []
    try:
        reading = read_source(
            data,
            obs_keys=use.obs_keys or None,
            filter_key=filter_key,
            success_reward=success_reward,
            episode_length=episode_length,
            problems=problems,
        )
    except InputError as refused:
        return Validation(str(data), tuple(_unreadable(str(data), [*problems, str(refused)])), {})
    findings = _unreadable(str(data), problems) + apply_rules(reading, use)
    return Validation(str(data), _sorted(findings), _checked(reading), reading.notes)


def validate_reading(reading: Reading, use: Use | None = None) -> Validation:
    """The same for demonstrations that were read already, whose lengths and values are therefore sound."""
    return Validation(
        reading.demos.source, _sorted(apply_rules(reading, use or Use())), _checked(reading), reading.notes
    )


def apply_rules(reading: Reading, use: Use) -> list[Finding]:
    """What every rule finds."""
    return [finding for rule in RULES for finding in rule(reading, use)]


def _checked(reading: Reading) -> dict[str, int]:
    return {"episodes": len(reading.demos), "transitions": reading.demos.num_transitions}


def _unreadable(source: str, problems: Sequence[str]) -> list[Finding]:
    found = [error("unreadable", source, problem) for problem in problems[:_MOST]]
    if len(problems) > _MOST:
        found.append(error("unreadable", source, f"{len(problems) - _MOST} further episodes cannot be read."))
    return found


def _sorted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: f.severity != "error"))
