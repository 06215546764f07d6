"""Settings: the one-step policy, its loss, and how an action is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dtql_robot.config.checks import WIDEST, Activation, check_types, in_range, require

Act = Literal["sample", "mean", "best", "softmax", "diffusion", "diffusion-best"]

Q_WEIGHT = 0.08
Q_WEIGHT_ALONE = 0.24
"""Defaults of q_weight: of demonstrations, and of much data in which Q alone tells good actions from bad ones."""


@dataclass(frozen=True)
class PolicyConfig:
    """The one-step policy, its loss, and how an action is chosen."""

    policy: Literal["gaussian", "implicit", "denoiser"] = "gaussian"
    """Policy type. gaussian: tanh of a Gaussian given the state. implicit: a network from state and noise to action.
    denoiser: an implicit policy with the denoiser's network, which starts as a copy of the pretrained denoiser (section
    3 of the paper)."""
    policy_hidden: tuple[int, ...] = (128, 128, 128)
    """Widths of the policy's hidden layers."""
    policy_members: int | None = None
    """Number of networks in the Gaussian policy. With more than one, the mean of the ensemble acts, still in one
    forward pass. Default: 4; 1 with policy=implicit."""
    policy_activation: Activation | None = None
    """Activation function of the policy. Default: the same as for the other networks (paper: relu)."""
    policy_init: Literal["uniform", "orthogonal"] = "uniform"
    """Initial weights of a Gaussian policy. uniform: PyTorch's default. orthogonal: as in the authors' code."""
    generation_sigma: float = 2.5
    """Noise level from which policy=denoiser generates an action."""
    log_std_min: float = -5.0
    """Lower bound of the Gaussian's log standard deviation (before tanh)."""
    log_std_max: float = 2.0
    """Upper bound of the Gaussian's log standard deviation (before tanh)."""
    regularizer: Literal["trust_region", "kl"] = "trust_region"
    """How the policy is kept close to the data. kl: distillation with a second denoiser (section 3 of the paper)."""
    trust_region_weight: float = 1.0
    """Weight of the regularizer (alpha in the paper)."""
    tr_sigma_min: float = 0.5
    """Smallest noise level of the regularizer (paper: 0.002)."""
    tr_sigma_max: float = 3.0
    """Largest noise level of the regularizer (paper: 80)."""
    tr_at: Literal["sample", "mean"] = "mean"
    """Policy action at which the regularizer and Q are evaluated: a sample (paper) or the mean."""
    tr_states: Literal["all", "behaviour"] = "all"
    """States at which the regularizer holds, if the policy imitates some of the episodes: all recorded ones, as in the
    paper, or those of the imitated episodes only."""
    nll: Literal["tanh", "mse"] = "mse"
    """Likelihood of the recorded actions. tanh: under the Gaussian (paper). mse: squared error of the mean."""
    nll_weight: float = 1.0
    """Weight of the likelihood term (gamma in the paper)."""
    nll_reduction: Literal["mean", "sum"] = "mean"
    """Whether the likelihood of a chunk is the mean over its entries or their sum (the authors' code)."""
    awr_temperature: float | None = None
    """Weight recorded actions in the likelihood by exp(temperature * advantage / spread of the advantage), as in IQL.
    Default: 3 times the share of episodes that do not end in success, so that good data is weighted evenly; 0 without
    a success signal."""
    q_weight: float | None = None
    """Weight of the Q term, in the unit of q_unit. 0: behaviour cloning within the trust region. Default: 0.08; 0.24
    for 20,000 updates or more with 50,000 transitions or more, if nothing else says which of them are good (no success
    signal, no groups of returns)."""
    q_unit: Literal["step", "value"] = "step"
    """Unit of q_weight. step: how far Q moves the policy, relative to how far recorded actions are from it. value: the
    weight of Q itself (paper), in units of the spread of Q if normalize_q is on."""
    normalize_q: bool = True
    """With q_unit=value, divide Q by its spread over the batch, so that a weight means the same for every reward
    scale."""
    act: Act = "mean"
    """How an action is chosen. sample: draw one. mean: the mean. best, softmax: of several candidates, the one with the
    highest target min-Q, or a softmax draw. diffusion: sample the denoiser in many steps (a baseline, not DTQL).
    diffusion-best: several such samples, of which the one with the highest target min-Q acts (a baseline: IDQL)."""
    candidates: int = 32
    """Number of candidates for act=best, diffusion-best and softmax (the paper's code: 1024, softmax)."""

    def __post_init__(self) -> None:
        check_types(self)
        in_range(self, 1, WIDEST, "policy_hidden")
        in_range(self, -20.0, 20.0, "log_std_min", "log_std_max")
        require(self.log_std_min < self.log_std_max, "log_std_min", self.log_std_min, "below {log_std_max}")
        in_range(self, 1, 1_000_000, "candidates")
        in_range(self, 1, 1_000, "policy_members")
        gaussian = self.policy == "gaussian"
        require(
            gaussian or self.members == 1, "policy_members", self.policy_members, f"1 with {{policy={self.policy}}}"
        )
        plain = gaussian or self.policy_init == "uniform"
        require(plain, "policy_init", self.policy_init, f"uniform with {{policy={self.policy}}}")
        in_range(self, 1e-6, 1e6, "generation_sigma")
        in_range(self, 1e-6, 1e6, "tr_sigma_min", "tr_sigma_max")
        require(self.tr_sigma_min < self.tr_sigma_max, "tr_sigma_min", self.tr_sigma_min, "below {tr_sigma_max}")
        in_range(self, 0, 1e9, "trust_region_weight", "nll_weight", "q_weight", "awr_temperature")
        remedy = "mean or diffusion, since nothing trains the noise: that takes {tr_at=sample}"
        remedy += " or {nll=tanh}" if self.policy == "gaussian" else ""
        require(self.act == "mean" or self.samples_denoiser or self.trains_noise, "act", self.act, remedy)

    @property
    def members(self) -> int:
        """Networks in the policy."""
        return self.policy_members or (4 if self.policy == "gaussian" else 1)

    @property
    def weight_of_q(self) -> float:
        """q_weight, or its smaller default where none was chosen for the data."""
        return Q_WEIGHT if self.q_weight is None else self.q_weight

    @property
    def trains_noise(self) -> bool:
        """Whether any term of the loss reads the policy's noise: the standard deviation, or an implicit policy's
        input."""
        likelihood = self.policy == "gaussian" and self.nll == "tanh" and self.nll_weight > 0
        return likelihood or (self.tr_at == "sample" and (self.trust_region_weight > 0 or self.weight_of_q > 0))

    @property
    def compares_candidates(self) -> bool:
        """Whether the action is one of several candidates."""
        return self.act in ("best", "softmax", "diffusion-best")

    @property
    def samples_denoiser(self) -> bool:
        """Whether the denoiser acts, sampled in many steps."""
        return self.act in ("diffusion", "diffusion-best")

    @property
    def uses_critic(self) -> bool:
        """Whether any term of the loss, or the choice of actions, reads Q."""
        return self.weight_of_q > 0 or bool(self.awr_temperature) or self.compares_candidates

    @property
    def regularizes_all(self) -> bool:
        """Whether a regularizer applies at the states of all episodes."""
        return self.trust_region_weight > 0 and self.tr_states == "all"

    @property
    def uses_all_episodes(self) -> bool:
        """Whether anything reads the episodes that the policy does not imitate."""
        return self.uses_critic or self.regularizes_all

    @property
    def uses_denoiser(self) -> bool:
        """Whether the regularizer, the choice of actions, or the policy's initial weights read the denoiser."""
        return self.trust_region_weight > 0 or self.samples_denoiser or self.policy == "denoiser"
