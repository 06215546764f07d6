"""Settings: what is read from the demonstrations and how it is scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dtql_robot.config.checks import check_types, in_range, require

Reward = Literal["auto", "success", "dataset"]
BehaviourChoice = Literal["auto", "all", "successes", "returns", "solutions"]
AfterSuccess = Literal["auto", "all", "cut"]


@dataclass(frozen=True)
class DataConfig:
    """What is read from the demonstrations and how it is scaled."""

    obs_keys: tuple[str, ...] = ()
    """Observation keys to use, in this order. Images are used only if listed here. Default: all low-dimensional
    keys."""
    filter_key: str | None = None
    """Use only the demonstrations listed under `mask/<filter_key>` (robomimic files)."""
    episode_length: int | None = None
    """Episode length, for a D4RL file that does not mark where episodes end. Default: as the file marks them."""
    reward: Reward = "auto"
    """Reward to learn from. success: 0 at a successful step, -1 otherwise. dataset: as recorded. auto: success if the
    data has a success signal, otherwise dataset."""
    behaviour: BehaviourChoice = "auto"
    """Which episodes the policy imitates; the critic always learns from all of them. successes: those labelled as
    successes. returns: those with high returns. solutions: of recordings that go on when the task is done, the steps
    before it is, as many as the discount looks ahead. auto: of these recordings solutions, otherwise successes, if
    there are at least 25; returns if no episode is labelled and the returns fall into two groups; otherwise all."""
    after_success: AfterSuccess = "auto"
    """How much is learned of what follows an episode's first success. all: everything. cut: a third as many steps as it
    took to succeed, at least 10. auto: cut if the environment counts a success at any step, the recordings mostly
    stay successful, and a tenth of the data or more is left out; otherwise all."""
    success_reward: float | None = None
    """Count a step as a success if its recorded reward is at least this. Default: the success signal in the data."""
    reward_scale: float = 1.0
    """Factor to multiply rewards by."""
    reward_shift: float = 0.0
    """Constant to add to rewards after scaling (antmaze: -1)."""
    obs_norm: Literal["standard", "none"] = "standard"
    """Normalization of low-dimensional observations. standard: mean 0 and standard deviation 1. none: as recorded
    (paper)."""
    action_norm: Literal["range", "none"] = "range"
    """Action normalization. range: map each dimension's recorded range to [-1, 1]. none: actions are in [-1, 1]
    already."""
    horizon: int = 8
    """Number of actions predicted at once (the chunk length H)."""
    n_action_steps: int | None = None
    """Number of actions executed before the next forward pass. Default: 2; the whole chunk where recordings continue
    after the task is done (OGBench's play data)."""
    temporal_ensemble_coeff: float | Literal["fit"] | None = "fit"
    """Temporal ensembling: average what all chunks so far predicted for a step. fit: with the weights that best predict
    the demonstrations. A number c: with weights exp(-c * i), where i = 0 is the oldest chunk. None: use the newest
    chunk only."""

    def __post_init__(self) -> None:
        check_types(self)
        in_range(self, 1, 10_000, "horizon")
        require(1 <= self.executed <= self.horizon, "n_action_steps", self.n_action_steps, "1 to {horizon}")
        if self.episode_length is not None:
            in_range(self, 1, 10**9, "episode_length")
        in_range(self, -1e6, 1e6, "reward_scale", "reward_shift")
        if isinstance(self.temporal_ensemble_coeff, int | float):
            in_range(self, -100.0, 100.0, "temporal_ensemble_coeff")

    @property
    def executed(self) -> int:
        """n_action_steps, or its smaller default where none was chosen for the data."""
        return min(2, self.horizon) if self.n_action_steps is None else self.n_action_steps
