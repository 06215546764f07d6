"""The actor of Stable-Baselines3's SAC as a policy of this package: the same Gaussian before the same tanh.

Its file is a zip with the weights in policy.pth and settings in JSON; nothing in it is executed, and the package itself
is not needed.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dtql_robot.algorithm.model import Model, make_networks
from dtql_robot.config import Config, DataConfig, PolicyConfig
from dtql_robot.env_record import EnvChoice, record_as
from dtql_robot.envs.make import make_env
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.normalize import Affine, identity
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.policy_folder.save import save_policy_folder

LOG_STD_BOUNDS = (-20.0, 2.0)
"""Of Stable-Baselines3's SAC."""
_LAYER = re.compile(r"actor\.latent_pi\.(\d+)\.weight")
_KEY = "observation"

CARD = """\
---
library_name: dtql-robot
pipeline_tag: reinforcement-learning
tags: [robotics, reinforcement-learning, SAC]
---

# {name}

The actor of a soft actor-critic (SAC) for `{env}`, trained with Stable-Baselines3 {version} for {steps:,} environment
steps with seed {seed}. It makes demonstrations of a stated quality; it is no result of DTQL.
{measured}
## How to use it

```
dtql-robot collect {env} --policy {name} --episodes 100 --out data.hdf5
```

The observation is the environment's own vector, {obs} numbers; an action is a sample, {actions} numbers within the
environment's bounds. `dtql_robot.load_policy("{name}").set_act("mean")` acts without noise.
"""


def sac_policy(path: str | Path, env: str) -> OneStepPolicy:
    """The policy whose `act` samples as SAC's actor does.

    path: the zip that `SAC.save` wrote, with an MlpPolicy.  env: the environment that it was trained in, which
    gives the bounds of actions.  InputError for anything else.
    """
    weights, settings = _read(Path(path))
    face = _interface(env)
    hidden, state = _network(weights, Path(path), face)
    _check_kind(settings, Path(path))
    cfg = Config(
        data=DataConfig(horizon=1, n_action_steps=1, temporal_ensemble_coeff=None, obs_norm="none", behaviour="all"),
        policy=PolicyConfig(
            policy_hidden=hidden,
            policy_members=1,
            policy_activation="relu",
            log_std_min=LOG_STD_BOUNDS[0],
            log_std_max=LOG_STD_BOUNDS[1],
            nll="tanh",
            act="sample",
        ),
    )
    device = torch.device("cpu")
    networks = make_networks(cfg, face.obs_dim, face.action_dim, face.sigma_data, device)
    for network in (networks.policy, networks.ema_policy):
        network.load_state_dict(state)
    policy = OneStepPolicy(Model(cfg, networks, device), face)
    policy.recorded_env = EnvChoice(env, record_as(env, {"env_kwargs": {}}), source=str(path))
    return policy


def save_sac(path: str | Path, env: str, out: Path, *, measured: str = "", overwrite: bool = False) -> Path:
    """`sac_policy` as a policy's folder.  measured: a sentence on its return, for the model card."""
    policy = sac_policy(path, env)
    settings = _read(Path(path))[1]
    card = CARD.format(
        name=out.name,
        env=env,
        version=settings["version"],
        steps=int(settings.get("num_timesteps") or 0),
        seed=settings.get("seed"),
        measured=f"\n{measured}\n" if measured else "",
        obs=policy.interface.obs_dim,
        actions=policy.action_dim,
    )
    return save_policy_folder(policy, out, card=card, overwrite=overwrite)


def settings_of_sac(path: str | Path) -> dict[str, Any]:
    """What the zip says of its training: "seed", "num_timesteps", "version" (of Stable-Baselines3), ..."""
    return _read(Path(path))[1]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(the weights, the settings) in the zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(archive.read("data"))
            settings["version"] = archive.read("_stable_baselines3_version").decode().strip()
            weights = torch.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        RuntimeError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} is not what Stable-Baselines3's `SAC.save` writes ({reason[:200]}).") from error
    return dict(weights), settings


def _check_kind(settings: Mapping[str, Any], path: Path) -> None:
    """InputError where the actor is not the Gaussian of an MLP with ReLU."""
    kwargs = settings.get("policy_kwargs") or {}
    activation = str(kwargs.get("activation_fn", "ReLU")) if isinstance(kwargs, dict) else "ReLU"
    if settings.get("use_sde"):
        raise InputError(f"{path} explores by state-dependent noise (use_sde), which has no counterpart here.")
    if "ReLU" not in activation or "Leaky" in activation:
        raise InputError(f"{path} has the activation {activation}; expected ReLU, SAC's default.")


def _interface(env: str) -> Interface:
    """What a policy of the environment reads and writes, in its own units; actions from [-1, 1] to their bounds."""
    made = make_env(env)
    facts, box = made.get_wrapper_attr("facts"), made.action_space
    made.close()
    if set(facts.obs_shapes) != {_KEY}:
        raise InputError(
            f"{env} observes {', '.join(facts.obs_shapes)}; expected one array, as SAC's MlpPolicy has it."
        )
    low, high = np.asarray(box.low, np.float64), np.asarray(box.high, np.float64)  # type: ignore[attr-defined]
    return Interface(
        obs_keys=(_KEY,),
        obs_shapes=(facts.obs_shapes[_KEY],),
        obs_norm=identity(math.prod(facts.obs_shapes[_KEY])),
        action_norm=Affine(((high + low) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)),
        action_dim=facts.action_dim,
        sigma_data=0.5,
    )


def _network(weights: Mapping[str, Tensor], path: Path, face: Interface) -> tuple[tuple[int, ...], dict[str, Tensor]]:
    """(widths of the hidden layers, state of a `GaussianPolicy`).  InputError for other actors and sizes."""
    found = [_LAYER.fullmatch(name) for name in weights]
    layers = [f"actor.latent_pi.{i}" for i in sorted(int(layer[1]) for layer in found if layer)]
    heads = ("actor.mu", "actor.log_std")
    missing = [f"{name}.weight" for name in heads if f"{name}.weight" not in weights]
    if not layers or missing:
        raise InputError(f"{path} has no actor of SAC with an MlpPolicy (no {(missing or ['actor.latent_pi'])[0]}).")
    sizes = (weights[f"{layers[0]}.weight"].shape[1], weights["actor.mu.weight"].shape[0])
    if sizes != (face.obs_dim, face.action_dim):
        raise InputError(
            f"{path} reads {sizes[0]} numbers and gives {sizes[1]}; the environment has {face.obs_dim} and "
            f"{face.action_dim}. Name the one that it was trained in."
        )
    state = {}
    for number, name in enumerate(layers):
        for part in ("weight", "bias"):
            state[f"net.{2 * number}.{part}"] = weights[f"{name}.{part}"]
    for part in ("weight", "bias"):
        state[f"net.{2 * len(layers)}.{part}"] = torch.cat([weights[f"{name}.{part}"] for name in heads])
    return tuple(int(weights[f"{name}.weight"].shape[0]) for name in layers), state
