"""What an evaluation found, and results.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dtql_robot.env_record import SuccessRule
from dtql_robot.eval.intervals import wilson_interval
from dtql_robot.system.files import write_json

LISTED = 8  # episodes that are named one by one where a result is printed


@dataclass(frozen=True)
class EpisodeResult:
    """One evaluated episode.

    seed             `env.reset(seed=seed)` starts it, and seeds the policy's noise in it
    time_to_success  steps until the success signal first came on; None if it never did
    subtasks         part of the task -> whether it was done, where the environment tells (FrankaKitchen)
    error            why it could not be played to its end, however often it was begun: it counts as no success, and its
                     return and length as nothing; None for every other episode
    """

    seed: int
    success: bool
    episode_return: float
    length: int
    time_to_success: int | None
    subtasks: dict[str, bool] = field(default_factory=dict)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """An entry of `per_episode` in results.json."""
        return {
            "seed": self.seed,
            "success": self.success,
            "return": self.episode_return,
            "length": self.length,
            "time_to_success": self.time_to_success,
            **({"subtasks": self.subtasks} if self.subtasks else {}),
            **({"error": self.error} if self.error else {}),
        }


@dataclass(frozen=True)
class Restart:
    """An episode that was run again from its start, because its simulator died, hung or failed after `steps` steps."""

    seed: int
    steps: int
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """An entry of `restarts` in results.json."""
        return {"seed": self.seed, "steps": self.steps, "reason": self.reason}


@dataclass(frozen=True)
class EvalResult:
    """All episodes of an evaluation, and its speed.

    policy_hz        control decisions per second for one robot: 1 / median seconds of `policy.predict` at batch size 1,
                     timed apart from the rollout.  Each decision yields `n_action_steps` actions.
    env_steps_per_s  environment steps of all episodes / wall seconds of the rollout (policy, physics and transport)
    videos           the videos that were written; video_note says why there is none, or what is odd about them
    restarts         episodes that had to be run again; their results are those of the run that was completed
    num_envs         environments that ran at once; where: "processes" of their own or "in-process"
    """

    env: str
    seed: int
    per_episode: tuple[EpisodeResult, ...]
    success_rule: SuccessRule
    horizon: int
    n_action_steps: int
    policy_hz: float
    env_steps_per_s: float
    versions: dict[str, str] = field(default_factory=dict)
    videos: tuple[Path, ...] = ()
    video_note: str | None = None
    restarts: tuple[Restart, ...] = ()
    num_envs: int = 1
    where: str = "in-process"
    chunk_weights: tuple[float, ...] | None = None

    @property
    def episodes(self) -> int:
        """The number of episodes."""
        return len(self.per_episode)

    @property
    def successes(self) -> int:
        """The number of episodes that succeeded."""
        return sum(episode.success for episode in self.per_episode)

    @property
    def success_rate(self) -> float:
        """The share of episodes that succeeded."""
        return self.successes / self.episodes

    @property
    def failed(self) -> tuple[EpisodeResult, ...]:
        """The episodes that could not be played to their end."""
        return tuple(episode for episode in self.per_episode if episode.error)

    @property
    def _played(self) -> tuple[EpisodeResult, ...]:
        return tuple(episode for episode in self.per_episode if not episode.error)

    @property
    def mean_return(self) -> float:
        """Over the episodes that were played to their end."""
        return sum(e.episode_return for e in self._played) / max(1, len(self._played))

    @property
    def mean_length(self) -> float:
        """Steps, over the episodes that were played to their end."""
        return sum(e.length for e in self._played) / max(1, len(self._played))

    @property
    def video(self) -> Path | None:
        """The first video; None where there is none."""
        return self.videos[0] if self.videos else None

    @property
    def ci95(self) -> tuple[float, float]:
        """Wilson's 95% interval of the success rate."""
        return wilson_interval(self.successes, self.episodes)

    @property
    def mean_time_to_success(self) -> float | None:
        """Mean over the successful episodes of the steps until success; None where none succeeded."""
        times = [e.time_to_success for e in self.per_episode if e.success and e.time_to_success is not None]
        return sum(times) / len(times) if times else None

    @property
    def subtask_success(self) -> dict[str, float]:
        """Part of the task -> share of the episodes in which it was done."""
        names = dict.fromkeys(name for episode in self.per_episode for name in episode.subtasks)
        return {name: sum(e.subtasks.get(name, False) for e in self.per_episode) / self.episodes for name in names}

    def to_dict(self) -> dict[str, Any]:
        """The content of results.json."""
        return {
            "env": self.env,
            "success_rate": self.success_rate,
            "ci95": list(self.ci95),
            "episodes": self.episodes,
            "seed": self.seed,
            "mean_return": self.mean_return,
            "mean_length": self.mean_length,
            "mean_time_to_success": self.mean_time_to_success,
            "subtask_success": self.subtask_success,
            "policy_hz": self.policy_hz,
            "env_steps_per_s": self.env_steps_per_s,
            "success_rule": self.success_rule,
            "horizon": self.horizon,
            "n_action_steps": self.n_action_steps,
            "chunk_weights": None if self.chunk_weights is None else list(self.chunk_weights),
            "num_envs": self.num_envs,
            "where": self.where,
            "restarts": [restart.to_dict() for restart in self.restarts],
            "versions": self.versions,
            "videos": [path.name for path in self.videos],
            "video_note": self.video_note,
            "per_episode": [episode.to_dict() for episode in self.per_episode],
        }

    def save(self, path: str | Path) -> Path:
        """Write results.json whole or not at all."""
        return write_json(Path(path), self.to_dict())

    def __str__(self) -> str:
        low, high = self.ci95
        lines = [
            f"{self.env}: success {self.success_rate:.1%} ({self.successes}/{self.episodes}, "
            f"95% interval {low:.1%} to {high:.1%}), {self.policy_hz:.0f} decisions/s, "
            f"{self.env_steps_per_s:.0f} environment steps/s"
        ]
        if self.subtask_success:
            lines.append("  " + ", ".join(f"{name} {rate:.0%}" for name, rate in self.subtask_success.items()))
        if self.failed:
            count = f"{len(self.failed)} of {self.episodes}"
            lines.append(f"  {count} episodes could not be played to their end: failures, in no other mean")
        lines += _first_of([f"  episode with seed {e.seed} failed: {e.error}" for e in self.failed])
        ended = {e.seed for e in self.failed}
        again = [r for r in self.restarts if r.seed not in ended]
        lines += _first_of([f"  episode with seed {r.seed} was run again: {r.reason}" for r in again])
        return "\n".join(lines)


def _first_of(lines: list[str]) -> list[str]:
    """A few of the lines, and how many there are more."""
    more = len(lines) - LISTED
    return lines if more <= 0 else [*lines[:LISTED], f"  and {more} more (results.json lists all)"]
