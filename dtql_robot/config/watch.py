"""Settings: what is seen of a training while it goes on, and which checkpoints it leaves."""

from __future__ import annotations

from dataclasses import dataclass

from dtql_robot.config.checks import check_types, in_range, require

TRACKERS = ("tensorboard", "wandb", "mlflow")
"""Where a training can be logged besides metrics.csv."""


@dataclass(frozen=True)
class WatchConfig:
    """What is seen of a training while it goes on, and which checkpoints it leaves."""

    eval_every: int | None = None
    """Updates between two evaluations in simulation while training. They start from states of their own, which no
    evaluation by `eval` uses. Default: none."""
    eval_episodes: int = 20
    """Episodes of each evaluation while training; the same ones each time."""
    valid_fraction: float | None = None
    """Hold this share of the demonstrations out of training, and measure the loss on them. Default: none."""
    valid_key: str | None = None
    """Hold the demonstrations listed under `mask/<valid_key>` out instead (robomimic files). Default: valid, where
    filter_key is used and the file has such a list."""
    valid_data: str | None = None
    """Measure the loss on the demonstrations of this source instead, and train on all. Default: the part -val of an
    OGBench data set, where it lies beside it."""
    keep: str = "last"
    """Checkpoints to keep, by commas: last (it always is), best (by the evaluations while training), every:N."""
    log: str = ""
    """Log to these too, by commas: tensorboard, wandb, mlflow. Default: metrics.csv alone."""

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
                word in ("last", "best") or _period(word) > 0, "keep", self.keep, "last, best or every:N, by commas"
            )
        require(not self.keeps_best or self.eval_every is not None, "keep", self.keep, "best only with {eval_every}")
        for word in words(self.log):
            require(word in TRACKERS, "log", self.log, f"{', '.join(TRACKERS)}, by commas")

    @property
    def keeps_best(self) -> bool:
        """Is the checkpoint with the best evaluation kept?"""
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
