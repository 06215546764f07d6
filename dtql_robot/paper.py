"""The rows of the paper's tables as data: which D4RL dataset, with which settings, judged how.

Source: arXiv 2405.19690, its tables of hyperparameters, and the authors' public code (github.com/TianyuCodings/
Diffusion_Trusted_Q_Learning) where the paper leaves a choice open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Settings = Mapping[str, Any]
"""{"group.setting": value}"""

PRETRAINING = 50_000
"""Updates of denoiser and critics before the policy starts; they do not count in a row's budget."""

SHARED: Settings = {
    "data.horizon": 1,
    "data.n_action_steps": 1,
    "data.reward": "dataset",
    "data.behaviour": "all",
    "data.after_success": "all",
    "data.obs_norm": "none",
    "data.action_norm": "none",
    "diffusion.sigma_data": 0.5,
    "diffusion.denoiser_net": "mlp",
    "diffusion.denoiser_blocks": 3,
    "policy.policy": "gaussian",
    "policy.policy_hidden": (256, 256, 256),
    "policy.policy_members": 1,
    "policy.policy_activation": "relu",
    "policy.policy_init": "orthogonal",
    "policy.regularizer": "trust_region",
    "policy.tr_sigma_min": 0.002,
    "policy.tr_sigma_max": 80.0,
    "policy.tr_at": "sample",
    "policy.nll": "tanh",
    "policy.nll_reduction": "sum",
    "policy.log_std_min": -5.0,
    "policy.log_std_max": 2.0,
    "policy.trust_region_weight": 1.0,
    "policy.nll_weight": 0.0,
    "policy.awr_temperature": 0.0,
    "policy.q_weight": 1.0,
    "policy.q_unit": "value",
    "policy.normalize_q": False,
    "policy.act": "softmax",
    "policy.candidates": 1024,
    "critic.q_networks": 2,
    "critic.expectile": 0.7,
    "critic.discount": 0.99,
    "critic.v_layer_norm": False,
    "critic.q_layer_norm": "own",
    "optim.activation": "mish",
    "optim.batch_size": 256,
    "optim.lr": 3e-4,
    "optim.denoiser_lr_scale": 1.0,
    "optim.critic_lr": 3e-4,
    "optim.lr_decay": False,
    "optim.pretrain_steps": PRETRAINING,
    "optim.ema_decay": 0.0,
    "optim.obs_noise": 0.0,
}
"""What all rows share."""

KL: Settings = {
    "policy.policy": "denoiser",
    "policy.policy_init": "uniform",
    "policy.generation_sigma": 2.5,
    "policy.regularizer": "kl",
    "policy.nll_weight": 0.0,
}
"""What makes a row its partner of section 3: distillation by KL, from the pretrained denoiser."""


@dataclass(frozen=True)
class Row:
    """One row.

    dataset   D4RL's name of the data
    env       the environment of today in which its policy is judged, with the observations of D4RL's files
    horizon   steps of an episode there
    episodes  episodes of one evaluation in the authors' runs
    settings  what differs from `SHARED`
    """

    dataset: str
    env: str
    horizon: int
    episodes: int
    settings: Settings = field(default_factory=dict)

    @property
    def robot(self) -> str:
        """The robot or scene, as it stands in the names of its environments in lower case, D4RL's and Gymnasium's."""
        return self.dataset.partition("-")[0].replace("pen", "handpen")  # "open" is in the names of other tasks

    @property
    def recipe(self) -> Settings:
        """All settings of the row."""
        return {**SHARED, **self.settings}


def _gym(name: str, quality: str, lr: float, alpha: float, decay: bool) -> Row:
    env = {"halfcheetah": "HalfCheetah-v4", "hopper": "Hopper-v4", "walker2d": "Walker2d-v4"}[name]
    return Row(f"{name}-{quality}-v2", env, 1000, 10, _settings(1000, lr, alpha, decay))


def _antmaze(maze: str, version: int, lr: float, alpha: float, decay: bool, epochs: int) -> Row:
    likelihood = {"policy.nll_weight": 1.0, "critic.expectile": 0.9, "optim.batch_size": 2048}
    settings = {**_settings(epochs, lr, alpha, decay), **likelihood, "data.reward_shift": -1.0}
    name = f"antmaze-{maze}-v{version}"
    return Row(name, f"d4rl:{name}", 700 if "umaze" in maze else 1000, 100, settings)


def _pen(kind: str, lr: float, decay: bool, epochs: int, expectile: float) -> Row:
    settings = {**_settings(epochs, lr, 1500.0, decay), "critic.expectile": expectile}
    return Row(f"pen-{kind}-v1", "AdroitHandPen-v1", 100, 100, settings)


def _kitchen(kind: str, lr: float, alpha: float, epochs: int) -> Row:
    name = f"kitchen-{kind}-v0"
    return Row(name, f"d4rl:{name}", 280, 100, _settings(epochs, lr, alpha, True))


def _settings(epochs: int, lr: float, alpha: float, decay: bool) -> dict[str, Any]:
    """epochs: of 1,000 updates."""
    alpha_key = "policy.trust_region_weight"
    return {"steps": 1000 * epochs, "optim.lr": lr, alpha_key: float(alpha), "optim.lr_decay": decay}


ROWS: tuple[Row, ...] = (
    _gym("halfcheetah", "medium", 3e-4, 1, False),
    _gym("halfcheetah", "medium-replay", 3e-4, 5, False),
    _gym("halfcheetah", "medium-expert", 3e-4, 50, False),
    _gym("hopper", "medium", 1e-4, 5, True),
    _gym("hopper", "medium-replay", 3e-4, 5, False),
    _gym("hopper", "medium-expert", 3e-4, 20, False),
    _gym("walker2d", "medium", 3e-4, 5, True),
    _gym("walker2d", "medium-replay", 3e-4, 5, True),
    _gym("walker2d", "medium-expert", 3e-4, 5, True),
    *(
        _antmaze(maze, version, lr, alpha, decay, epochs)
        for version in (0, 2)
        for maze, lr, alpha, decay, epochs in (
            ("umaze", 3e-4, 1, False, 500),
            ("umaze-diverse", 3e-5, 1, True, 500),
            ("medium-play", 3e-4, 1, False, 400),
            ("medium-diverse", 3e-4, 1, False, 400),
            ("large-play", 3e-4, 1, False, 350),
            ("large-diverse", 3e-4, 0.5, False, 300),
        )
    ),
    _pen("human", 3e-5, True, 300, 0.9),
    _pen("cloned", 1e-5, False, 200, 0.7),
    _kitchen("complete", 1e-4, 200, 500),
    _kitchen("partial", 1e-4, 100, 1000),
    _kitchen("mixed", 3e-4, 200, 500),
)
"""Nine of locomotion, six of antmaze (under the names of its versions 0 and 2), two of Adroit, three of the kitchen."""

KITCHEN_SUBTASKS = 4
"""What there is to do in each of the kitchen's rows."""

PREFIX, KL_PREFIX = "paper:", "paper-kl:"


def row_of(preset: str) -> Row | None:
    """The row that a preset's name means: "paper:DATASET", "paper-kl:DATASET", or DATASET alone; None for others."""
    name = preset.removeprefix(KL_PREFIX).removeprefix(PREFIX)
    return next((row for row in ROWS if row.dataset == name), None)


def presets() -> dict[str, Settings]:
    """Every row and its partner by the names that `row_of` knows."""
    found: dict[str, Settings] = {}
    for row in ROWS:
        found[PREFIX + row.dataset] = found[row.dataset] = row.recipe
        found[KL_PREFIX + row.dataset] = {**row.recipe, **KL}
    return found
