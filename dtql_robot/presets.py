"""Named recipes, as data: the paper's by D4RL dataset id, and the baselines made from the same parts.

A recipe lists only what differs from `Config`'s defaults, as {"group.setting": value}.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from dtql_robot.config import Config
from dtql_robot.errors import InputError, did_you_mean

Recipe = Mapping[str, Any]

ONE_NETWORK: Recipe = {
    "policy.policy_members": 1,
    "policy.policy_hidden": (256, 256, 256),
    "optim.denoiser_lr_scale": 1.0,
}

PAPER: Recipe = {
    **ONE_NETWORK,
    "data.horizon": 1,
    "data.n_action_steps": 1,
    "data.reward": "dataset",
    "data.behaviour": "all",
    "data.action_norm": "none",
    "diffusion.sigma_data": 0.5,
    "diffusion.denoiser_net": "mlp",
    "diffusion.denoiser_blocks": 4,
    "policy.policy": "gaussian",
    "policy.policy_activation": "relu",
    "policy.regularizer": "trust_region",
    "policy.tr_sigma_min": 0.002,
    "policy.tr_sigma_max": 80.0,
    "policy.tr_at": "sample",
    "policy.nll": "tanh",
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
    "critic.expectile": 0.7,
    "critic.discount": 0.99,
    "optim.activation": "mish",
    "optim.batch_size": 256,
    "optim.lr": 3e-4,
    "optim.lr_decay": False,
    "optim.pretrain_steps": 50_000,
    "optim.obs_noise": 0.0,
}
"""What the authors' runs share (arXiv 2405.19690 and its public code)."""


def _gym(lr: float, alpha: float, decay: bool) -> dict[str, Any]:
    values = {"steps": 1_000_000, "optim.lr": lr, "policy.trust_region_weight": alpha, "optim.lr_decay": decay}
    return {**PAPER, **values}


def _antmaze(lr: float, alpha: float, decay: bool, epochs: int) -> dict[str, Any]:
    return {
        **_gym(lr, alpha, decay),
        "steps": epochs * 1000,
        "policy.nll_weight": 1.0,
        "optim.batch_size": 2048,
        "critic.expectile": 0.9,
        "data.reward_shift": -1.0,
    }


def _adroit(lr: float, decay: bool, epochs: int, expectile: float) -> dict[str, Any]:
    return {**_gym(lr, 1500.0, decay), "steps": epochs * 1000, "critic.expectile": expectile}


def _kitchen(lr: float, alpha: float, epochs: int) -> dict[str, Any]:
    return {**_gym(lr, alpha, True), "steps": epochs * 1000}


_BASELINE: Recipe = {**ONE_NETWORK, "data.behaviour": "all"}
"""What the baselines share: they learn from all episodes alike."""

_MSE: Recipe = {
    **_BASELINE,
    "policy.trust_region_weight": 0.0,
    "policy.q_weight": 0.0,
    "policy.nll": "mse",
    "policy.awr_temperature": 0.0,
    "policy.act": "mean",
}


PRESETS: dict[str, Recipe] = {
    "paper": PAPER,
    "halfcheetah-medium-v2": _gym(3e-4, 1, False),
    "halfcheetah-medium-replay-v2": _gym(3e-4, 5, False),
    "halfcheetah-medium-expert-v2": _gym(3e-4, 50, False),
    "hopper-medium-v2": _gym(1e-4, 5, True),
    "hopper-medium-replay-v2": _gym(3e-4, 5, False),
    "hopper-medium-expert-v2": _gym(3e-4, 20, False),
    "walker2d-medium-v2": _gym(3e-4, 5, True),
    "walker2d-medium-replay-v2": _gym(3e-4, 5, True),
    "walker2d-medium-expert-v2": _gym(3e-4, 5, True),
    "antmaze-umaze-v0": _antmaze(3e-4, 1, False, 500),
    "antmaze-umaze-diverse-v0": _antmaze(3e-5, 1, True, 500),
    "antmaze-medium-play-v0": _antmaze(3e-4, 1, False, 400),
    "antmaze-medium-diverse-v0": _antmaze(3e-4, 1, False, 400),
    "antmaze-large-play-v0": _antmaze(3e-4, 1, False, 350),
    "antmaze-large-diverse-v0": _antmaze(3e-4, 0.5, False, 300),
    "pen-human-v1": _adroit(3e-5, True, 300, 0.9),
    "pen-cloned-v1": _adroit(1e-5, False, 200, 0.7),
    "kitchen-complete-v0": _kitchen(1e-4, 200, 500),
    "kitchen-partial-v0": _kitchen(1e-4, 100, 1000),
    "kitchen-mixed-v0": _kitchen(3e-4, 200, 500),
    "mse-bc": _MSE,
    "mse-bc-successes": {**_MSE, "data.behaviour": "auto"},
    "diffusion-bc": {
        **_BASELINE,
        "policy.trust_region_weight": 0.0,
        "policy.q_weight": 0.0,
        "policy.awr_temperature": 0.0,
        "policy.act": "diffusion",
    },
    "iql": {**_MSE, "policy.awr_temperature": 3.0},
    "idql": {
        **_BASELINE,
        "policy.trust_region_weight": 0.0,
        "policy.q_weight": 0.0,
        "policy.awr_temperature": 0.0,
        "policy.act": "diffusion-best",
    },
    "tr-only": {**_BASELINE, "policy.q_weight": 0.0, "policy.nll_weight": 0.0, "policy.awr_temperature": 0.0},
    "no-q": {"policy.q_weight": 0.0},
    "kl": {
        **_BASELINE,
        "policy.policy": "implicit",
        "policy.regularizer": "kl",
        "policy.tr_at": "sample",
        "policy.nll_weight": 0.0,
        "policy.awr_temperature": 0.0,
        "policy.q_unit": "value",
        "policy.q_weight": 0.05,
        "policy.act": "sample",
    },
}
"""Name -> recipe."""


def preset(name: str) -> Config:
    """The default config with a preset's settings.  An unknown name is an InputError listing near ones."""
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS, n=3, cutoff=0.4, otherwise=f"There are {', '.join(PRESETS)}.")
        raise InputError(f"There is no preset {name!r}. {hint}")
    return override(Config(), PRESETS[name])


def override(cfg: Config, settings: Recipe) -> Config:
    """`cfg` with {"group.setting": value} replaced; unknown settings are an InputError."""
    values = copy.deepcopy(cfg.to_dict())
    for path, value in settings.items():
        *groups, name = path.split(".")
        target = values
        for group in groups:
            target = target.get(group, {})
        if name not in target:
            raise InputError(f"there is no setting {path!r}.")
        target[name] = value
    return Config.from_dict(values)
