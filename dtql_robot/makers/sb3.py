"""Actors of Stable-Baselines3 as policies of this package: the same Gaussian before the same tanh.

SAC squashes its actions itself.  PPO does not: its actor is taken if it was trained in an environment that does, as
benchmarks/makers/train_maker.py makes one.

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
from dtql_robot.types import Array

LOG_STD_BOUNDS = (-20.0, 2.0)
"""Of Stable-Baselines3's SAC."""
SQUASHED = 3.0
"""Bound of PPO's actions from which on they are taken to be squashed by the environment: tanh(3) is .995."""
_LAYER = re.compile(r"(actor\.latent_pi|mlp_extractor\.policy_net)\.(\d+)\.weight")
_MEANS = {"SAC": "actor.mu", "PPO": "action_net"}
_KEY = "observation"
Norm = tuple[Array, Array]
"""(mean, standard deviation) by which observations were normalized, (O,) each."""

CARD = """\
---
library_name: dtql-robot
pipeline_tag: reinforcement-learning
tags: [robotics, reinforcement-learning, {algorithm}]
---

# {name}

The actor of {algorithm} for `{env}`, trained with Stable-Baselines3 {version} for {steps:,} environment steps with
seed {seed}. It makes demonstrations of a stated quality; it is no result of DTQL.
{measured}
## How to use it

```
dtql-robot collect {env} --policy {name} --episodes 100 --out data.hdf5
```

The observation is the environment's own vector, {obs} numbers; an action is a sample, {actions} numbers within the
environment's bounds. `dtql_robot.load_policy("{name}").set_act("mean")` acts without noise.
"""


def sb3_policy(path: str | Path, env: str, norm: Norm | None = None) -> OneStepPolicy:
    """The policy whose `act` samples as the actor of SAC or PPO does.

    path: the zip that `SAC.save` or `PPO.save` wrote, with an MlpPolicy.  env: the environment that it was trained in,
    which gives the bounds of actions.  norm: of the observations in training.  InputError for anything else.
    """
    weights, settings = _read(Path(path))
    face = _interface(env, norm)
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


def save_sb3(
    path: str | Path, env: str, out: Path, *, norm: Norm | None = None, measured: str = "", overwrite: bool = False
) -> Path:
    """`sb3_policy` as a policy's folder.  measured: a sentence on its return, for the model card."""
    policy = sb3_policy(path, env, norm)
    settings = _read(Path(path))[1]
    card = CARD.format(
        name=out.name,
        env=env,
        algorithm=settings["algorithm"],
        version=settings["version"],
        steps=int(settings.get("num_timesteps") or 0),
        seed=settings.get("seed"),
        measured=f"\n{measured}\n" if measured else "",
        obs=policy.interface.obs_dim,
        actions=policy.action_dim,
    )
    return save_policy_folder(policy, out, card=card, overwrite=overwrite)


def settings_of_sb3(path: str | Path) -> dict[str, Any]:
    """What the zip says of its training: "algorithm", "seed", "num_timesteps", "version" (of Stable-Baselines3), ..."""
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
        raise InputError(f"{path} is not what Stable-Baselines3's `save` writes ({reason[:200]}).") from error
    found = next((name for name, mean in _MEANS.items() if f"{mean}.weight" in weights), None)
    if found is None:
        raise InputError(f"{path} has no actor of SAC or PPO with an MlpPolicy (no {' or '.join(_MEANS.values())}).")
    return dict(weights), settings | {"algorithm": found}


def _check_kind(settings: Mapping[str, Any], path: Path) -> None:
    """InputError where the actor is not the squashed Gaussian of an MLP with ReLU."""
    algorithm = settings["algorithm"]
    usual = {"SAC": "ReLU", "PPO": "Tanh"}[algorithm]
    kwargs = settings.get("policy_kwargs") or {}
    activation = str(kwargs.get("activation_fn", usual)) if isinstance(kwargs, dict) else usual
    if settings.get("use_sde"):
        raise InputError(f"{path} explores by state-dependent noise (use_sde), which has no counterpart here.")
    if "ReLU" not in activation or "Leaky" in activation:
        raise InputError(f"{path} has the activation {activation}; expected ReLU.")
    space = settings.get("action_space")
    bounds = [float(x) for x in re.findall(r"\d+\.?\d*", str(space.get("high")))] if isinstance(space, dict) else []
    if algorithm == "PPO" and (not bounds or min(bounds) < SQUASHED):
        raise InputError(
            f"{path} has PPO's own actions, a Gaussian that is cut off, not squashed; train it in an environment "
            "that squashes them, as benchmarks/makers/train_maker.py does."
        )


def _interface(env: str, norm: Norm | None) -> Interface:
    """What a policy of the environment reads and writes; actions from [-1, 1] to their bounds."""
    made = make_env(env)
    facts, box = made.get_wrapper_attr("facts"), made.action_space
    made.close()
    if set(facts.obs_shapes) != {_KEY}:
        raise InputError(f"{env} observes {', '.join(facts.obs_shapes)}; expected one array, as an MlpPolicy has it.")
    low, high = np.asarray(box.low, np.float64), np.asarray(box.high, np.float64)  # type: ignore[attr-defined]
    size = math.prod(facts.obs_shapes[_KEY])
    obs_norm = identity(size)
    if norm is not None:
        obs_norm = Affine(*(np.asarray(part, np.float32).reshape(-1) for part in norm))
        if (len(obs_norm.shift), len(obs_norm.scale)) != (size, size):
            raise InputError(f"The normalization is of {len(obs_norm.shift)} numbers; {env} observes {size}.")
    return Interface(
        obs_keys=(_KEY,),
        obs_shapes=(facts.obs_shapes[_KEY],),
        obs_norm=obs_norm,
        action_norm=Affine(((high + low) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)),
        action_dim=facts.action_dim,
        sigma_data=0.5,
    )


def _network(weights: Mapping[str, Tensor], path: Path, face: Interface) -> tuple[tuple[int, ...], dict[str, Tensor]]:
    """(widths of the hidden layers, state of a `GaussianPolicy`).  InputError for other actors and sizes."""
    matched = [found for name in weights if (found := _LAYER.fullmatch(name))]
    layers = [f"{found[1]}.{found[2]}" for found in sorted(matched, key=lambda found: int(found[2]))]
    mean = next(name for name in _MEANS.values() if f"{name}.weight" in weights)
    if not layers:
        raise InputError(f"{path} has an actor without hidden layers; expected an MlpPolicy with some.")
    sizes = (weights[f"{layers[0]}.weight"].shape[1], weights[f"{mean}.weight"].shape[0])
    if sizes != (face.obs_dim, face.action_dim):
        raise InputError(
            f"{path} reads {sizes[0]} numbers and gives {sizes[1]}; the environment has {face.obs_dim} and "
            f"{face.action_dim}. Name the one that it was trained in."
        )
    state = {}
    for number, name in enumerate(layers):
        for part in ("weight", "bias"):
            state[f"net.{2 * number}.{part}"] = weights[f"{name}.{part}"]
    log_std = {part: weights.get(f"actor.log_std.{part}") for part in ("weight", "bias")}
    if "log_std" in weights:  # PPO's is the same in every state
        log_std = {"weight": torch.zeros_like(weights[f"{mean}.weight"]), "bias": weights["log_std"]}
    for part, deviation in log_std.items():
        if deviation is None:
            raise InputError(f"{path} has no deviation of its actions; expected an actor of SAC or PPO.")
        state[f"net.{2 * len(layers)}.{part}"] = torch.cat([weights[f"{mean}.{part}"], deviation])
    return tuple(int(weights[f"{name}.weight"].shape[0]) for name in layers), state
