"""A trained policy as a folder of 0.7 MB: what acts, without critics, denoiser and optimizers where they do not act."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save as weights_as_bytes

from dtql_robot import __version__
from dtql_robot.algorithm.model import ACTS_WITH
from dtql_robot.config import Act
from dtql_robot.errors import InputError
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.policy_folder.files import CARD, FORMAT, SETTINGS, WEIGHTS
from dtql_robot.policy_folder.load import load
from dtql_robot.policy_folder.model_card import model_card
from dtql_robot.system.files import new_folder, write_json, write_text
from dtql_robot.types import Array


def save_policy_folder(
    policy: OneStepPolicy,
    out: Path,
    *,
    run: Path | None = None,
    act: Act | None = None,
    card: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the policy's folder, whole or not at all.

    run: the run folder whose data and results the model card tells.  act: how it acts, by default as configured.
    card: the model card of a policy that was not trained here.
    overwrite: whether a policy's folder of that name may be replaced.  InputError where the policy does not act so, or
    where the written folder does not give its actions.
    """
    policy.set_act(act)
    cfg = replace(policy.model.cfg, policy=policy.choice.cfg, data=policy.data_config)
    arrays = acting_weights(policy)
    bad = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if bad:
        raise InputError(f"the policy's weights are NaN or infinite ({bad[0]}), so it is not exported; train again.")
    content = weights_as_bytes(arrays)
    env = policy.recorded_env
    settings = {
        "format": FORMAT,
        "version": __version__,
        "config": cfg.to_dict(),
        "interface": policy.interface.to_json(),
        "networks": sorted({name.partition("/")[0] for name in arrays}),
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "env": env.spec if env else None,
        "env_args": env.env_args if env else {},
        "reference_scores": list(policy.reference_scores) if policy.reference_scores else None,
    }
    with new_folder(out, SETTINGS, overwrite) as part:
        (part / WEIGHTS).write_bytes(content)
        write_json(part / SETTINGS, settings)
        write_text(part / CARD, model_card(policy, out.name, run) if card is None else card)
        _compare(load(part, policy.model.device), policy, out)
    return out


def acting_weights(policy: OneStepPolicy) -> dict[str, Array]:
    """ "network/array" -> array, of the networks that acting takes."""
    networks = policy.model.networks
    names = ["ema_policy", *(["ema_encoder"] if policy.encoder is not None else [])]
    names += ACTS_WITH.get(policy.choice.cfg.act, ())
    return {
        f"{name}/{key}": np.ascontiguousarray(value.detach().cpu().numpy())
        for name in names
        for key, value in networks[name].state_dict().items()
    }


def _compare(loaded: OneStepPolicy, policy: OneStepPolicy, out: Path) -> None:
    """InputError where the folder does not give the same actions, bit for bit."""
    for seed in range(3):
        obs = policy.interface.example(np.random.default_rng(seed), policy.image_obs)
        with torch.random.fork_rng(devices=[]):
            expected, found = (p.predict(obs, [np.random.default_rng(seed)]) for p in (policy, loaded))
        if not np.array_equal(expected, found):
            raise InputError(f"{out} was not written: loaded again, it does not reproduce the policy's actions.")
