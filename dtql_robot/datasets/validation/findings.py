"""What `validate` reports, and what it is told about the use of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dtql_robot.types import Demonstrations, Episode

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (error) or suspicious (warning).

    code     short name for programs, "actions-outside"
    place    file, episode, array or dimension it was found in
    problem  what was found, and why it matters
    remedy   what to do about it
    """

    severity: Severity
    code: str
    place: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.severity}: {self.place}: {self.problem}", self.remedy) if part)


def error(code: str, place: str, problem: str, remedy: str = "") -> Finding:
    """Something that would make training or evaluation wrong."""
    return Finding("error", code, place, problem, remedy)


def warning(code: str, place: str, problem: str, remedy: str = "") -> Finding:
    """Something suspicious."""
    return Finding("warning", code, place, problem, remedy)


def names(episodes: Sequence[Episode]) -> str:
    """The first few names: "demo_0, demo_3, demo_7 and 12 more"."""
    shown = ", ".join(e.name for e in episodes[:3])
    return shown + (f" and {len(episodes) - 3} more" if len(episodes) > 3 else "")


def some_episodes(demos: Demonstrations, rows: int) -> Demonstrations:
    """Evenly chosen episodes of about `rows` steps in all; those of smaller data are all of them."""
    every = max(1, demos.num_transitions // rows)
    return replace(demos, episodes=demos.episodes[::every])


@dataclass(frozen=True)
class Validation:
    """The findings of one source, errors first.

    checked    what was looked at (episodes, transitions)
    notes      what reading inferred, derived or disregarded, in sentences
    decisions  what the default recipe takes from the data and why, in sentences
    """

    source: str
    findings: tuple[Finding, ...]
    checked: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for each finding, note and decision, and a line that sums up."""
        size = "".join(f", {n} {what}" for what, n in self.checked.items())
        total = f"{self.source}{size}: {len(self.errors)} errors, {len(self.warnings)} warnings"
        said = [*(f"note: {note}" for note in self.notes), *(f"train would decide: {what}" for what in self.decisions)]
        return "\n".join([*map(str, self.findings), *said, total])

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop training."""
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that are only suspicious."""
        return tuple(f for f in self.findings if f.severity == "warning")

    def to_dict(self) -> dict[str, Any]:
        """For JSON: source, ok, errors, warnings, notes, decisions, and what was looked at (episodes, transitions)."""
        return {
            "source": self.source,
            "ok": not self.errors,
            "errors": [asdict(f) for f in self.errors],
            "warnings": [asdict(f) for f in self.warnings],
            "notes": list(self.notes),
            "decisions": list(self.decisions),
            **self.checked,
        }


@dataclass(frozen=True)
class Use:
    """How the data will be used, as far as it decides what is an error.

    action_norm  "range" fits the recorded range; "none" takes actions for [-1, 1] as they are
    reward       "success" needs a success signal
    obs_keys     observations the policy will use; empty: every low-dimensional one
    horizon      actions predicted at once
    """

    action_norm: str = "range"
    reward: str = "auto"
    obs_keys: tuple[str, ...] = ()
    horizon: int = 1
