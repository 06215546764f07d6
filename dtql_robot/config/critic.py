"""Settings: implicit Q-learning over action chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dtql_robot.config.checks import WIDEST, check_types, in_range, require


@dataclass(frozen=True)
class CriticConfig:
    """Implicit Q-learning (Kostrikov et al. 2021) over action chunks."""

    critic_hidden: tuple[int, ...] = (256, 256, 256)
    """Widths of the Q and V networks' hidden layers."""
    q_networks: int | None = None
    """Number of Q networks. The first two judge actions, by the smaller of their values. With q_unit=step, the policy
    moves along the gradient of that, or, with more than two, of the mean of all. Default: 2; 4 where nothing but Q
    tells good actions from bad ones (no success signal, no groups of returns)."""
    expectile: float = 0.7
    """Expectile of the regression of V on Q."""
    discount: float = 0.99
    """Discount factor per environment step."""
    v_target: Literal["target", "online"] = "target"
    """Q network that V is regressed on: target (paper) or online (the authors' code)."""
    tau: float = 0.005
    """Update rate of the target Q networks (Polyak averaging)."""
    v_layer_norm: bool = True
    """Use layer normalization in V as in the Q networks (the authors' code: in the Q networks only)."""
    q_layer_norm: Literal["shared", "own"] = "shared"
    """Whether the two Q networks share the gains and shifts of layer normalization, or each has its own (the authors'
    code)."""

    def __post_init__(self) -> None:
        check_types(self)
        in_range(self, 1, WIDEST, "critic_hidden")
        in_range(self, 2, 1_000, "q_networks")
        require(0 < self.expectile < 1, "expectile", self.expectile, "between 0 and 1")
        require(0 <= self.discount <= 1, "discount", self.discount, "0 to 1")
        require(0 < self.tau <= 1, "tau", self.tau, "above 0, at most 1")

    @property
    def networks(self) -> int:
        """q_networks, or their smaller default where none was chosen for the data."""
        return self.q_networks or 2
