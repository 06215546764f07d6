"""Named recipes, as data: the paper's by D4RL dataset, and the baselines made from the same parts.

A recipe lists only what differs from `Config`'s defaults, as {"group.setting": value}.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from dtql_robot import paper
from dtql_robot.config import Config
from dtql_robot.config.checks import option
from dtql_robot.errors import InputError, did_you_mean

Recipe = Mapping[str, Any]

ONE_NETWORK: Recipe = {
    "policy.policy_members": 1,
    "policy.policy_hidden": (256, 256, 256),
    "optim.denoiser_lr_scale": 1.0,
}

_BASELINE: Recipe = {**ONE_NETWORK, "data.behaviour": "all", "data.after_success": "all", "critic.q_networks": 2}
"""What the baselines share: they learn from all steps of all episodes alike."""

_MSE: Recipe = {
    **_BASELINE,
    "policy.trust_region_weight": 0.0,
    "policy.q_weight": 0.0,
    "policy.nll": "mse",
    "policy.awr_temperature": 0.0,
    "policy.act": "mean",
}


PRESETS: dict[str, Recipe] = {
    "paper": {**paper.SHARED, "steps": 1_000_000},
    **paper.presets(),
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
        "steps": 4_000,
        "optim.pretrain_steps": 2_000,
        "policy.policy": "denoiser",
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


def changes(name: str) -> tuple[str, ...]:
    """What a preset makes of the default recipe, "--setting value" each, in the words of the command line."""
    before, now = Config().to_dict(), preset(name).to_dict()
    groups = [(before, now), *((before[k], now[k]) for k in now if isinstance(now[k], dict))]
    return tuple(
        f"{option(k)} {_words(new[k])}"
        for old, new in groups
        for k in new
        if new[k] != old[k] and not isinstance(new[k], dict)
    )


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else f"{value}"
