"""What an evaluation found, and results.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtql_robot.env_record import SuccessRule
from dtql_robot.envs.measure import Measure
from dtql_robot.eval.episode_result import EpisodeResult, Restart
from dtql_robot.eval.inline import shown
from dtql_robot.eval.intervals import bootstrap_interval, wilson_interval
from dtql_robot.eval.reference_returns import Reference
from dtql_robot.system.files import write_json
from dtql_robot.system.frames import data_frame

if TYPE_CHECKING:
    import pandas

LISTED = 8  # episodes that are named one by one where a result is printed


@dataclass(frozen=True)
class EvalResult:
    """All episodes of an evaluation, and its speed.

    policy_hz        control decisions per second for one robot: 1 / median seconds of `policy.predict` at batch size 1,
                     timed apart from the rollout.  Each decision yields `n_action_steps` actions.
    env_steps_per_s  environment steps of all episodes / wall seconds of the rollout (policy, physics and transport)
    videos           the videos that were written; video_note says why there is none, or what is odd about them
    restarts         episodes that had to be run again; their results are those of the run that was completed
    reference        what counts as 0 and 100 in the normalized score; None where that is not known
    reference_note   why it is not, where the environment is one with published references
    measure          the number that decides success, where the environment has one that is known
    clips            environment seed -> the short film of that episode
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
    reference: Reference | None = None
    reference_note: str | None = None
    measure: Measure | None = None
    clips: dict[int, Path] = field(default_factory=dict)

    @property
    def episodes(self) -> int:
        """The number of episodes."""
        return len(self.per_episode)

    @property
    def successes(self) -> int:
        """The number of episodes that succeeded."""
        return sum(bool(episode.success) for episode in self.per_episode)

    @property
    def reports_success(self) -> bool:
        """Whether the environment reports success; if not, the return is the result."""
        return any(episode.success is not None for episode in self.per_episode)

    @property
    def success_rate(self) -> float | None:
        """The share of episodes that succeeded; None if the environment reports no success."""
        return self.successes / self.episodes if self.reports_success else None

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
    def return_ci95(self) -> tuple[float, float] | None:
        """95% bootstrap interval of the mean return; None for fewer than two episodes that were played to their end."""
        returns = [e.episode_return for e in self._played]
        return bootstrap_interval(returns) if len(returns) > 1 else None

    @property
    def mean_subtasks(self) -> float | None:
        """Mean number of subtasks completed in an episode; None if the environment reports none."""
        return sum(self.subtask_success.values()) if self.subtask_success else None

    @property
    def normalized_score(self) -> float | None:
        """0 for a random policy and 100 for an expert, by `reference`; None without one."""
        if self.reference is None:
            return None
        values = {"return": self.mean_return, "success": self.success_rate, "subtasks": self.mean_subtasks}
        value = values[self.reference.measure]
        return None if value is None else self.reference.score(value)

    @property
    def mean_length(self) -> float:
        """Steps, over the episodes that were played to their end."""
        return sum(e.length for e in self._played) / max(1, len(self._played))

    @property
    def video(self) -> Path | None:
        """The first video; None where there is none."""
        return self.videos[0] if self.videos else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Wilson's 95% interval of the success rate; None where there is no such rate."""
        return wilson_interval(self.successes, self.episodes) if self.reports_success else None

    @property
    def mean_time_to_success(self) -> float | None:
        """Mean over the successful episodes of the steps until success; None where none succeeded."""
        times = [e.time_to_success for e in self.per_episode if e.success and e.time_to_success is not None]
        return sum(times) / len(times) if times else None

    @property
    def success_at_end(self) -> float | None:
        """The share of episodes whose last step succeeds, where a success at any step counts; None elsewhere."""
        told = any(e.ends_in_success is not None for e in self.per_episode)
        return sum(bool(e.ends_in_success) for e in self.per_episode) / self.episodes if told else None

    @property
    def subtask_success(self) -> dict[str, float]:
        """Part of the task -> share of the episodes in which it was done."""
        names = dict.fromkeys(name for episode in self.per_episode for name in episode.subtasks)
        return {name: sum(e.subtasks.get(name, False) for e in self.per_episode) / self.episodes for name in names}

    @property
    def stages_reached(self) -> dict[str, float]:
        """Stage of the task -> share of the episodes that came as far, in the order of the task."""
        names = dict.fromkeys(name for episode in self.per_episode for name in episode.stages)
        return {name: sum(e.stages.get(name) is not None for e in self.per_episode) / self.episodes for name in names}

    def to_dict(self) -> dict[str, Any]:
        """The content of results.json; `normalized_score` is there only where it is known."""
        score, low_high = self.normalized_score, (self.ci95, self.return_ci95)
        ci95, return_ci95 = (None if pair is None else list(pair) for pair in low_high)
        known = (
            {}
            if score is None or self.reference is None
            else {"normalized_score": score, "normalized_by": self.reference.to_dict()}
        )
        return {
            "env": self.env,
            "success_rate": self.success_rate,
            "ci95": ci95,
            "episodes": self.episodes,
            "seed": self.seed,
            "mean_return": self.mean_return,
            "return_ci95": return_ci95,
            **known,
            "mean_length": self.mean_length,
            "mean_time_to_success": self.mean_time_to_success,
            "success_at_end": self.success_at_end,
            "subtask_success": self.subtask_success,
            "mean_subtasks": self.mean_subtasks,
            "stages_reached": self.stages_reached,
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
            "clips": {str(seed): f"{path.parent.name}/{path.name}" for seed, path in self.clips.items()},
            "measure": None if self.measure is None else self.measure.to_dict(),
            "video_note": self.video_note,
            "per_episode": [episode.to_dict() for episode in self.per_episode],
        }

    @property
    def outcome(self) -> str:
        """The result in words: the success rate, or the mean return where there is none, with its interval."""
        if self.success_rate is not None and self.ci95 is not None:
            low, high = self.ci95
            counted = f"{self.successes}/{self.episodes}"
            return f"success {self.success_rate:.1%} ({counted}, 95% interval {low:.1%} to {high:.1%})"
        of = f"{self.episodes} episodes"
        if self.return_ci95 is not None:
            of += f", 95% interval {self.return_ci95[0]:.2f} to {self.return_ci95[1]:.2f}"
        return f"return {self.mean_return:.2f} ({of})"

    def save(self, path: str | Path) -> Path:
        """Write results.json whole or not at all."""
        return write_json(Path(path), self.to_dict())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self).splitlines()[0]})"

    def _repr_html_(self) -> str:
        """The words of `str` and the videos, for notebooks."""
        return shown(str(self), self.videos)

    def to_frame(self) -> pandas.DataFrame:
        """One row per episode.  InputError if pandas is missing."""
        return data_frame([episode.to_dict() for episode in self.per_episode])

    def __str__(self) -> str:
        speed = f"{self.policy_hz:.0f} decisions/s, {self.env_steps_per_s:.0f} environment steps/s"
        lines = [f"{self.env}: {self.outcome}, {speed}"]
        if self.normalized_score is not None and self.reference is not None:
            scale = f"0 is {self.reference.low:g}, 100 is {self.reference.high:g}: {self.reference.source}"
            lines.append(f"  normalized score {self.normalized_score:.1f} ({self.reference.measure}; {scale})")
        if self.reference_note:
            lines.append(f"  {self.reference_note}")
        if self.success_at_end is not None and self.success_at_end != self.success_rate:
            lines.append(f"  a success at any step counts; {self.success_at_end:.1%} of the episodes end in one")
        if self.subtask_success:
            each = ", ".join(f"{name} {rate:.0%}" for name, rate in self.subtask_success.items())
            lines.append(f"  {self.mean_subtasks:.2f} of {len(self.subtask_success)} subtasks: {each}")
        if self.stages_reached:
            each = ", ".join(f"{name} {share:.0%}" for name, share in self.stages_reached.items())
            lines.append(f"  episodes came as far as: {each}")
        if self.failed:
            count = f"{len(self.failed)} of {self.episodes}"
            counted = "failures, in no other mean" if self.reports_success else "in no mean"
            lines.append(f"  {count} episodes could not be played to their end: {counted}")
        lines += _first_of([f"  episode with seed {e.seed} failed: {e.error}" for e in self.failed])
        ended = {e.seed for e in self.failed}
        again = [r for r in self.restarts if r.seed not in ended]
        lines += _first_of([f"  episode with seed {r.seed} was run again: {r.reason}" for r in again])
        return "\n".join(lines)


def _first_of(lines: list[str]) -> list[str]:
    """A few of the lines, and how many there are more."""
    more = len(lines) - LISTED
    return lines if more <= 0 else [*lines[:LISTED], f"  and {more} more (results.json lists all)"]
