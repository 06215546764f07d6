"""Every setting of the package and its default: the one home of both.

Frozen dataclasses, one comment a field (the command line shows them as help), checked when made,
written to `config.json` in the run folder and read back from there.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from dtql_robot.config.checks import Activation, SettingError, check_types, in_range, require
from dtql_robot.config.critic import CriticConfig
from dtql_robot.config.data import AfterSuccess, BehaviourChoice, DataConfig, Reward
from dtql_robot.config.diffusion import DENOISER_NETS, DiffusionConfig, SigmaDensity
from dtql_robot.config.encoder import ENCODERS, EncoderConfig, Network
from dtql_robot.config.optim import OptimConfig
from dtql_robot.config.policy import Act, PolicyConfig
from dtql_robot.config.watch import WatchConfig
from dtql_robot.errors import InputError
from dtql_robot.system import plugins

__all__ = [
    "Act",
    "Activation",
    "AfterSuccess",
    "BehaviourChoice",
    "Config",
    "CriticConfig",
    "DataConfig",
    "DiffusionConfig",
    "EncoderConfig",
    "Network",
    "OptimConfig",
    "PolicyConfig",
    "Reward",
    "SigmaDensity",
    "WatchConfig",
]


FORMER: dict[str, dict[str, Any]] = {
    "data": {"temporal_ensemble_coeff": None, "behaviour": "all", "after_success": "all"},
    "critic": {"q_networks": 2},
    "policy": {"q_unit": "value", "policy_members": 1, "tr_states": "behaviour"},
    "optim": {"denoiser_lr_scale": 1.0, "lr": 3e-4},
}
"""What was done before a setting was there, where that is not its default."""


LR, LR_UPDATES, LR_MAX = 3e-4, 6_000, 2e-3
"""Default learning rate, of trainings of so many updates or more; shorter ones learn faster in proportion, up to a
limit (docs/recipe.md)."""


@dataclass(frozen=True)
class Config:
    """The whole recipe, as `train` uses it and `config.json` records it."""

    steps: int = 6_000
    """Training updates, not counting those of --pretrain-steps."""
    seed: int = 0
    """Seed for initial weights, batches and noise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on. auto: cuda if available, otherwise cpu."""
    threads: int | None = None
    """CPU threads. Default: torch's choice, but no more than the cores that this process may use."""
    log_every: int = 100
    """Write a row of metrics.csv every this many updates."""
    checkpoint_every: int = 5_000
    """Save a checkpoint every this many updates."""
    data: DataConfig = field(default_factory=DataConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)

    def __post_init__(self) -> None:
        check_types(self)
        in_range(self, 1, 10**12, "steps", "log_every", "checkpoint_every")
        in_range(self, 0, 2**63 - 1, "seed")
        in_range(self, 1, 512, "threads")
        p = self.policy
        if p.policy != "gaussian" and p.nll == "tanh":
            require(
                p.nll_weight == 0, "nll_weight", p.nll_weight, f"0 with {{policy={p.policy}}}, which has no likelihood"
            )

    @property
    def updates(self) -> int:
        """All updates, those before the policy starts among them."""
        return self.optim.pretrain_steps + self.steps

    @property
    def lr(self) -> float:
        """The learning rate that the training begins with: `optim.lr`, or what suits its length."""
        if self.optim.lr is not None:
            return self.optim.lr
        return min(LR * max(1.0, LR_UPDATES / self.steps), LR_MAX)

    @property
    def plugins(self) -> list[tuple[str, str]]:
        """(group, name) of what other packages are to add, see `system.plugins`."""
        chosen = [(plugins.ENCODERS, self.encoder.encoder), (plugins.NETWORKS, self.diffusion.denoiser_net)]
        return [(group, name) for group, name in chosen if name not in (*ENCODERS, *DENOISER_NETS)]

    @property
    def draws_behaviour(self) -> bool:
        """Whether a batch has two halves: samples of all episodes, and of the behaviour to learn (`data.behaviour`)."""
        return self.data.behaviour not in ("auto", "all") and self.policy.uses_all_episodes

    @property
    def regularizes_all(self) -> bool:
        """Whether the regularizer applies at all states although the policy imitates only some of the episodes."""
        return self.draws_behaviour and self.policy.regularizes_all

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Config:
        """Inverse of `to_dict`.

        A setting that is missing was added after the file was written and takes the value that keeps the former
        behaviour.  An unknown one is an InputError: the file is of a newer version.
        """
        if isinstance(values, dict):
            values = {k: {**FORMER.get(k, {}), **v} if isinstance(v, dict) else v for k, v in values.items()}
        return _build(Config, values, "config")


def _build(cls: type, values: Any, where: str) -> Any:
    known = {f.name: f for f in dataclasses.fields(cls)}
    if not isinstance(values, dict) or not set(values) <= set(known):
        found = sorted(set(values) - set(known)) if isinstance(values, dict) else type(values).__name__
        raise InputError(
            f"{where} has settings that this version does not know ({found}); use the version that trained it."
        )
    made = {}
    for name in values:
        f, value = known[name], values[name]
        if dataclasses.is_dataclass(default := f.default_factory) and isinstance(default, type):
            value = _build(default, value, f"{where}.{name}")
        made[name] = value
    try:
        return cls(**made)
    except SettingError as error:
        raise InputError(f"{where}: {error}") from error
