"""Settings: what is read from the demonstrations and how it is scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dtql_robot.config.checks import check_types, in_range, require

Reward = Literal["auto", "success", "dataset"]
BehaviourChoice = Literal["auto", "all", "successes", "returns"]


@dataclass(frozen=True)
class DataConfig:
    """What is read from the demonstrations and how it is scaled."""

    obs_keys: tuple[str, ...] = ()
    """Observation keys to use, in this order; images are named here. Default: every low-dimensional key."""
    filter_key: str | None = None
    """Use only the demonstrations listed under `mask/<filter_key>` (robomimic files)."""
    episode_length: int | None = None
    """Steps after which an episode ends where a D4RL file does not mark its ends. Default: the file's own ends."""
    reward: Reward = "auto"
    """success: 0 at a successful step, -1 elsewhere. dataset: as recorded. auto: success where the data has it."""
    behaviour: BehaviourChoice = "auto"
    """Episodes that the policy is to behave like; the critic learns from all. successes: those labelled a success.
    returns: those of high return. auto: the former where there are 25 or more, the latter where no episode is labelled
    and the returns fall into two groups, else all."""
    success_reward: float | None = None
    """A step counts as a success where its recorded reward is at least this. Default: the data's own signal."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this ..."""
    reward_shift: float = 0.0
    """... and then this is added (antmaze: -1)."""
    action_norm: Literal["range", "none"] = "range"
    """range: each action dimension's recorded range becomes [-1, 1]. none: actions are in [-1, 1] already."""
    horizon: int = 8
    """Actions predicted at once (the chunk length H)."""
    n_action_steps: int = 2
    """Actions of a chunk that are executed before the next forward pass."""
    temporal_ensemble_coeff: float | Literal["fit"] | None = "fit"
    """Execute the mean of what all chunks so far foresaw for a step (temporal ensembling). fit: with the weights that
    forecast the demonstrations best. A number: with exp(-coeff * i), i = 0 for the oldest. None: the newest chunk."""

    def __post_init__(self) -> None:
        check_types(self)
        in_range(self, 1, 10_000, "horizon")
        require(1 <= self.n_action_steps <= self.horizon, "n_action_steps", self.n_action_steps, "1 to {horizon}")
        if self.episode_length is not None:
            in_range(self, 1, 10**9, "episode_length")
        in_range(self, -1e6, 1e6, "reward_scale", "reward_shift")
        if isinstance(self.temporal_ensemble_coeff, int | float):
            in_range(self, -100.0, 100.0, "temporal_ensemble_coeff")
