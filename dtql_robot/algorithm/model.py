"""The networks of DTQL and the moving averages that act: all that acting needs, and no more."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import nn

from dtql_robot.algorithm.denoiser_networks import DENOISERS
from dtql_robot.algorithm.diffusion import Denoiser
from dtql_robot.algorithm.encoders import Encoders
from dtql_robot.algorithm.networks import QNetworks, Value
from dtql_robot.algorithm.policy_networks import DenoiserPolicy, GaussianPolicy, ImplicitPolicy, OneStepPolicyNet
from dtql_robot.config import Config
from dtql_robot.config.checks import SettingError
from dtql_robot.errors import InputError, describe
from dtql_robot.system import plugins
from dtql_robot.system.memory import free_memory

ACTS_WITH: dict[str, tuple[str, ...]] = {
    "best": ("target_q",),
    "softmax": ("target_q",),
    "diffusion": ("denoiser",),
    "diffusion-best": ("denoiser", "target_q"),
}
"""Way to act -> the networks that it takes beside the average of the policy and of its encoder."""


@dataclass(frozen=True)
class Networks:
    """What is trained, and the averages of it.

    target_q, ema_policy, ema_encoder  averages: they are never trained, only moved
    fake                               second denoiser, with regularizer=kl
    encoder                            of image observations; None without images
    """

    q: QNetworks
    v: Value
    target_q: QNetworks
    denoiser: Denoiser
    policy: OneStepPolicyNet
    ema_policy: OneStepPolicyNet
    fake: Denoiser | None = None
    encoder: Encoders | None = None
    ema_encoder: Encoders | None = None

    def by_name(self) -> dict[str, nn.Module]:
        """Name -> network, those that there are."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: network for name, network in named.items() if network is not None}


def make_policy(cfg: Config, obs_dim: int, action_dim: int, sigma_data: float) -> OneStepPolicyNet:
    """The one-step policy that `cfg.policy` asks for."""
    chunk = (cfg.data.horizon, action_dim)
    p, activation = cfg.policy, cfg.policy.policy_activation or cfg.optim.activation
    if p.policy == "implicit":
        return ImplicitPolicy(obs_dim, chunk, p.policy_hidden, activation)
    if p.policy == "denoiser":
        return DenoiserPolicy(make_denoiser(cfg, obs_dim, action_dim, sigma_data), chunk, p.generation_sigma)
    bounds = (p.log_std_min, p.log_std_max)
    orthogonal = p.policy_init == "orthogonal"
    return GaussianPolicy(obs_dim, chunk, p.policy_hidden, activation, bounds, p.members, orthogonal)


def make_denoiser(cfg: Config, obs_dim: int, action_dim: int, sigma_data: float) -> Denoiser:
    """The preconditioned denoiser that `cfg.diffusion` asks for."""
    d, chunk = cfg.diffusion, (cfg.data.horizon, action_dim)
    make = DENOISERS.get(d.denoiser_net) or partial(added_network, d.denoiser_net)
    return Denoiser(make(obs_dim, chunk, d.denoiser_width, d.denoiser_blocks, cfg.optim.activation), sigma_data)


def added_network(name: str, obs_dim: int, chunk: tuple[int, int], *shape: Any) -> nn.Module:
    """The denoiser's network that another package adds: its entry point takes what `DenoiserNet` takes.

    InputError where it is no such network.
    """
    made = plugins.call(plugins.NETWORKS, name, DENOISERS, obs_dim, chunk, *shape)
    where = f"The network {name!r} ({plugins.named(plugins.NETWORKS, name)})"
    if not isinstance(made, nn.Module):
        raise InputError(f"{where} is {type(made).__name__}; expected a torch.nn.Module.")
    try:
        with torch.no_grad():
            out = made(torch.zeros(2, *chunk), torch.zeros(2), torch.zeros(2, obs_dim))
    except Exception as error:  # of somebody else's network
        raise InputError(
            f"{where} fails on a chunk of {chunk}, a noise level and a state of {obs_dim}: {describe(error)}."
        ) from error
    if getattr(out, "shape", None) != (2, *chunk):
        raise InputError(
            f"{where} returns {tuple(getattr(out, 'shape', ()))} for two chunks of {chunk}; expected (2, *chunk)."
        )
    return made


def check_memory(cfg: Config, obs_dim: int, action_dim: int, device: torch.device) -> None:
    """InputError where networks and batches of this size cannot fit: before they are made, since running out of memory
    ends the process without a word.  A lower bound: what passes may still be too large."""
    chunk, width = cfg.data.horizon * action_dim, cfg.diffusion.denoiser_width
    critics = 1 + cfg.critic.networks
    layers = {
        "critic_hidden": critics * _weights(obs_dim + chunk, cfg.critic.critic_hidden, 1),
        "policy_hidden": cfg.policy.members * _weights(obs_dim, cfg.policy.policy_hidden, 2 * chunk),
        "denoiser_width": cfg.diffusion.denoiser_blocks * width**2,
    }
    units = critics * sum(cfg.critic.critic_hidden) + cfg.policy.members * sum(cfg.policy.policy_hidden) + width
    needed = {name: 16 * count for name, count in layers.items()}  # weight, gradient, two moments of Adam
    needed["batch_size"] = 4 * cfg.optim.batch_size * (units + 2 * (obs_dim + chunk))
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    if sum(needed.values()) > free:
        name = max(needed, key=lambda n: needed[n])
        owner: Any = {"critic_hidden": cfg.critic, "policy_hidden": cfg.policy, "denoiser_width": cfg.diffusion}
        value = getattr(owner.get(name, cfg.optim), name)
        expected = f"less: training would take at least {sum(needed.values()) / 2**30:.0f} GiB of memory, of which "
        raise SettingError(name, value, f"{expected}{free / 2**30:.0f} GiB are free")


def _weights(inputs: int, hidden: tuple[int, ...], outputs: int) -> int:
    """Weights of an MLP, without biases."""
    return sum(a * b for a, b in itertools.pairwise((inputs, *hidden, outputs)))


def make_networks(
    cfg: Config,
    obs_dim: int,
    action_dim: int,
    sigma_data: float,
    device: torch.device,
    image_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Networks:
    """Networks with weights drawn from `cfg.seed`.

    The order in which they are made is part of every result: the same seed gives the same weights.
    """
    check_memory(cfg, obs_dim, action_dim, device)
    torch.manual_seed(cfg.seed)
    encoder = Encoders(cfg.encoder, obs_dim, image_shapes).to(device) if image_shapes else None
    if encoder is not None:
        obs_dim = encoder.feature_dim
    action_size, c, activation = cfg.data.horizon * action_dim, cfg.critic, cfg.optim.activation
    q = QNetworks(obs_dim, action_size, c.critic_hidden, activation, c.q_layer_norm, c.networks).to(device)
    v = Value(obs_dim, c.critic_hidden, activation, c.v_layer_norm).to(device)
    denoiser = make_denoiser(cfg, obs_dim, action_dim, sigma_data).to(device)
    policy = make_policy(cfg, obs_dim, action_dim, sigma_data).to(device)
    return Networks(
        q,
        v,
        copy.deepcopy(q).requires_grad_(False),
        denoiser,
        policy,
        copy.deepcopy(policy).requires_grad_(False),
        copy.deepcopy(denoiser) if cfg.policy.regularizer == "kl" else None,
        encoder,
        None if encoder is None else copy.deepcopy(encoder).requires_grad_(False),
    )


class Model:
    """A configuration and its networks: what acts, and what `agent.DTQL` trains."""

    def __init__(self, cfg: Config, networks: Networks, device: torch.device) -> None:
        self.cfg, self.device, self.networks = cfg, device, networks.by_name()
        self.q, self.v, self.target_q = networks.q, networks.v, networks.target_q
        self.denoiser, self.fake = networks.denoiser, networks.fake
        self.policy, self.ema_policy = networks.policy, networks.ema_policy
        self.encoder, self.ema_encoder = networks.encoder, networks.ema_encoder
        self.absent: frozenset[str] = frozenset()
        """Networks whose weights are not in place, since the file has only what acts."""

    def require(self, act: str) -> None:
        """InputError where acting so takes a network that is absent."""
        if missing := self.absent.intersection(ACTS_WITH.get(act, ())):
            raise InputError(
                f"act={act} needs the network {', '.join(missing)}, which is not in this file; export it again with "
                f"--act {act}."
            )

    def load_networks(self, state: Mapping[str, Any]) -> None:
        """Take over the weights.  state: name -> state dict, what `DTQL.state_dict` has under "networks"."""
        for name, network in self.networks.items():
            network.load_state_dict(state[name])
