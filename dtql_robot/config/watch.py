"""Settings: what is measured during training, and which checkpoints are kept."""

from __future__ import annotations

from dataclasses import dataclass

from dtql_robot.config.checks import check_types, in_range, require

TRACKERS = ("tensorboard", "wandb", "mlflow")
"""Where a training can be logged besides metrics.csv."""


@dataclass(frozen=True)
class WatchConfig:
    """What is measured during training, and which checkpoints are kept."""

    eval_every: int | None = None
    """Evaluate in simulation every this many updates, from start states that `eval` never uses. Default: never."""
    eval_episodes: int = 20
    """Number of episodes in each evaluation during training; the same ones each time."""
    valid_fraction: float | None = None
    """Hold out this fraction of the demonstrations, and measure the loss on them. Default: none."""
    valid_key: str | None = None
    """Hold out the demonstrations listed under `mask/<valid_key>` instead (robomimic files). Default: valid, if
    filter_key is used and the file has that list."""
    valid_data: str | None = None
    """Measure the loss on the demonstrations of this source instead, and train on all others. Default: the -val part of
    an OGBench data set, if it is in the same folder."""
    keep: str = "last"
    """Checkpoints to keep, separated by commas: last (always kept), best (by the evaluations during training),
    every:N."""
    log: str = ""
    """Also log to these, separated by commas: tensorboard, wandb, mlflow. Default: metrics.csv only."""

    def __post_init__(self) -> None:
        check_types(self)
        in_range(self, 1, 10**12, "eval_every")
        in_range(self, 1, 100_000, "eval_episodes")
        if self.valid_fraction is not None:
            require(0 < self.valid_fraction < 1, "valid_fraction", self.valid_fraction, "above 0 and below 1")
            require(self.valid_key is None, "valid_key", self.valid_key, "None with {valid_fraction}")
        if self.valid_data is not None:
            require(self.valid_key is None, "valid_key", self.valid_key, "None with {valid_data}")
            require(self.valid_fraction is None, "valid_fraction", self.valid_fraction, "None with {valid_data}")
        for word in words(self.keep):
            require(
                word in ("last", "best") or _period(word) > 0,
                "keep",
                self.keep,
                "last, best or every:N, separated by commas",
            )
        require(not self.keeps_best or self.eval_every is not None, "keep", self.keep, "best only with {eval_every}")
        for word in words(self.log):
            require(word in TRACKERS, "log", self.log, f"{', '.join(TRACKERS)}, separated by commas")

    @property
    def keeps_best(self) -> bool:
        """Whether the checkpoint with the best evaluation is kept."""
        return "best" in words(self.keep)

    @property
    def keeps_every(self) -> tuple[int, ...]:
        """Updates between two checkpoints that are kept for good."""
        return tuple(sorted({_period(word) for word in words(self.keep)} - {0}))

    @property
    def trackers(self) -> tuple[str, ...]:
        """Where to log besides metrics.csv."""
        return tuple(dict.fromkeys(words(self.log)))


def words(text: str) -> list[str]:
    """ "a, b" -> ["a", "b"]."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _period(word: str) -> int:
    """N of "every:N"; 0 for anything else."""
    name, _, number = word.partition(":")
    return int(number) if name == "every" and number.isascii() and number.isdecimal() else 0
