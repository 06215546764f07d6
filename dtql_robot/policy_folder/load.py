"""A policy's folder as a policy with torch's networks: every way to act, images, GPUs."""

from __future__ import annotations

from pathlib import Path

import torch

from dtql_robot.algorithm.model import Model, make_networks
from dtql_robot.errors import InputError
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.policy_folder.files import WEIGHTS, PolicyFolder, read_policy_folder


def load(path: Path, device: torch.device) -> OneStepPolicy:
    """The policy of a folder that `export --format safetensors` wrote, ready to act.  InputError if damaged."""
    found = read_policy_folder(path)
    policy = OneStepPolicy(_model(found, device), found.interface)
    policy.recorded_env, policy.reference_scores = found.env, found.reference_scores
    return policy


def _model(found: PolicyFolder, device: torch.device) -> Model:
    cfg, face = found.config, found.interface
    try:
        networks = make_networks(cfg, face.obs_dim, face.action_dim, face.sigma_data, device, face.image_shapes)
        model = Model(cfg, networks, device)
        needed = {"ema_policy", *(["ema_encoder"] if face.image_keys else [])}
        if missing := needed - found.weights.keys():
            raise KeyError(f"without {', '.join(sorted(missing))}")
        for name, arrays in found.weights.items():
            model.networks[name].load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{found.path / WEIGHTS} does not match its settings ({reason[:200]}); export it again."
        ) from error
    model.absent = frozenset(model.networks) - found.weights.keys()
    return model
