"""What `save` of Stable-Baselines3 writes, with small random weights, without that package."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import torch


def sb3_zip(
    path: Path, obs: int, actions: int, hidden: tuple[int, ...] = (8, 8), ppo: bool = False, **changes: Any
) -> Path:
    """SAC's file at `path`, or PPO's.  changes: settings in its JSON."""
    drawn = torch.Generator().manual_seed(0)
    weights, size = {}, obs
    names = [*(f"actor.latent_pi.{2 * i}" for i in range(len(hidden))), "actor.mu", "actor.log_std"]
    for name, width in zip(names, (*hidden, actions, actions), strict=True):
        weights[f"{name}.weight"] = torch.randn(width, size, generator=drawn) / size**0.5
        weights[f"{name}.bias"] = 0.1 * torch.randn(width, generator=drawn)
        size = width if "latent" in name else size
    if ppo:
        weights["log_std"] = weights.pop("actor.log_std.bias")
        del weights["actor.log_std.weight"]
        names = {"actor.latent_pi": "mlp_extractor.policy_net", "actor.mu": "action_net", "log_std": "log_std"}
        weights = {next(k.replace(a, b) for a, b in names.items() if a in k): v for k, v in weights.items()}
    settings = {"seed": 7, "num_timesteps": 1234, "use_sde": False, "policy_kwargs": {"use_sde": False}, **changes}
    content = io.BytesIO()
    torch.save(weights, content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(settings))
        archive.writestr("policy.pth", content.getvalue())
        archive.writestr("_stable_baselines3_version", "2.9.2")
    return path
