"""The loss on demonstrations that training does not see: whether the policy learns the task or the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dtql_robot.algorithm import losses
from dtql_robot.algorithm.agent import DTQL
from dtql_robot.algorithm.diffusion import sample_sigma
from dtql_robot.algorithm.objectives import Noise
from dtql_robot.config import Config
from dtql_robot.datasets.duplicates import fingerprint
from dtql_robot.errors import InputError
from dtql_robot.policy.state import seen_by
from dtql_robot.training.after_success import cut_after_success
from dtql_robot.training.behaviour import choose_behaviour, succeeds
from dtql_robot.training.buffer import ChunkBuffer, make_buffer
from dtql_robot.training.pixel_buffer import PixelBuffer, make_pixel_buffer
from dtql_robot.training.prepare import Prepared, Resolved
from dtql_robot.types import Batch, Demonstrations

SAMPLES = {False: 2048, True: 256}
"""Samples to measure on, the same each time; without and with images to encode."""


def hold_out(demos: Demonstrations, fraction: float) -> tuple[Demonstrations, Demonstrations]:
    """(those to train on, those held out), drawn by chance and the same each time; copies stay together."""
    groups: dict[bytes, list[int]] = {}
    for i, episode in enumerate(demos.episodes):
        groups.setdefault(fingerprint(episode), []).append(i)
    if len(groups) < 2:
        raise InputError(f"valid_fraction: {demos.source} has {len(groups)} distinct episode, expected 2 or more.")
    order = [list(groups.values())[i] for i in np.random.default_rng(0).permutation(len(groups))]
    wanted = min(len(groups) - 1, max(1, round(fraction * len(groups))))
    chosen = {i for group in order[:wanted] for i in group}
    parts = [tuple(e for i, e in enumerate(demos.episodes) if (i in chosen) is held) for held in (False, True)]
    return replace(demos, episodes=parts[0]), replace(demos, episodes=parts[1])


def without(demos: Demonstrations, held: Demonstrations) -> Demonstrations:
    """The demonstrations less those that are held out, and less copies of them.  InputError where nothing is left."""
    known = {fingerprint(e) for e in held.episodes}
    left = tuple(e for e in demos.episodes if fingerprint(e) not in known)
    if not left:
        raise InputError(f"{demos.source}: every demonstration is held out; name others with --filter-key.")
    return replace(demos, episodes=left)


@dataclass(frozen=True)
class HeldOut:
    """Samples of demonstrations that training does not see, and as many of those it does."""

    held: ChunkBuffer | PixelBuffer
    seen: ChunkBuffer | PixelBuffer

    @torch.no_grad()
    def measure(self, agent: DTQL) -> dict[str, float]:
        """The losses of an agent as it is, by the names of their columns in metrics.csv.  Draws no random numbers of
        the agent's."""
        found: dict[str, float] = {}
        for name, buffer in (("valid", self.held), ("train", self.seen)):
            acting, learning = _samples(agent, buffer)
            if agent.cfg.policy.act != "diffusion":
                error = (agent.ema_policy.mode(acting.obs) - acting.action) ** 2
                found[f"{name}_action_error"] = float(losses.chunk_mean(error, acting.valid).mean())
            if agent.cfg.policy.uses_denoiser and name == "valid":
                found["valid_denoiser_loss"] = float(agent.denoiser_loss(learning, _noise(agent.cfg, learning))[0])
        return found


def measured_on(valid: Demonstrations, prepared: Prepared, settings: Resolved, device: torch.device) -> HeldOut:
    """What is held out, laid out with the scalings of what is trained on.

    Of demonstrations whose behaviour is not learned (see `behaviour`), none counts.
    """
    cfg, face = prepared.cfg, prepared.interface
    missing = [key for key in cfg.data.obs_keys if key not in valid.obs_shapes]
    if missing or valid.action_dim != face.action_dim:
        raise InputError(f"{valid.source}: what is held out has no {missing or 'actions'} like what is trained on.")
    if cfg.data.after_success == "cut":
        valid = replace(valid, episodes=cut_after_success(valid.episodes))
    valid = replace(valid, episodes=tuple(_shown(valid, settings)))
    if not valid.episodes:
        raise InputError(
            f"No held-out demonstration of {valid.source} shows the behaviour to learn "
            f"({cfg.data.behaviour}); hold out more, or give --behaviour all."
        )
    low = make_buffer(valid, cfg.data, cfg.critic.discount, face.low_keys, face.obs_norm, face.action_norm, device)
    if not face.image_keys:
        return HeldOut(low, prepared.buffer)
    held = make_pixel_buffer(valid, low, face.image_keys, cfg.encoder.frame_stack, False, device)
    return HeldOut(held, prepared.buffer)


def _shown(valid: Demonstrations, settings: Resolved) -> Sequence:
    """The episodes whose behaviour would be learned if they were trained on."""
    choice, episodes = settings.cfg.data.behaviour, valid.episodes
    if choice == "successes":
        return [e for e in episodes if succeeds(e, settings.rule)]
    if choice == "returns":
        least = min(float(e.rewards.sum(dtype=np.float64)) for e in settings.behaviour.shown.episodes)
        return [e for e in episodes if float(e.rewards.sum(dtype=np.float64)) >= least]
    if choice == "solutions":
        found = choose_behaviour(valid, choice, settings.rule, settings.cfg.critic.discount)
        return found.shown.episodes
    return episodes


def _samples(agent: DTQL, buffer: ChunkBuffer | PixelBuffer) -> tuple[Batch, Batch]:
    """The same samples each time, in even steps over the behaviour: as the acting policy and as the denoiser sees
    them."""
    pixels = isinstance(buffer, PixelBuffer)
    low = buffer.low if isinstance(buffer, PixelBuffer) else buffer
    rows = torch.arange(len(low)) if low.behaviour is None else low.behaviour.cpu()
    index = rows[torch.linspace(0, len(rows) - 1, min(len(rows), SAMPLES[pixels])).round().long()]
    if isinstance(buffer, ChunkBuffer):
        b = buffer.batch(index.to(buffer.actions.device))
        return b, b
    found = buffer.batch(index)
    assert agent.encoder is not None
    assert agent.ema_encoder is not None
    acting, learning = (e.encode(found.low.obs, found.images) for e in (agent.ema_encoder, agent.encoder))
    seen = found.low._replace(obs=seen_by(agent.ema_encoder, "policy", acting))
    return seen, found.low._replace(obs=learning, next_obs=learning)


def _noise(cfg: Config, b: Batch) -> Noise:
    """The same noise each time, so that the curve moves with the network alone."""
    generator, d = torch.Generator().manual_seed(0), cfg.diffusion
    u = torch.rand(b.reward.shape, generator=generator)
    normal = torch.randn(b.action.shape, generator=generator)
    sigma: Tensor = sample_sigma(u, d.sigma_density, d.sigma_loc, d.sigma_scale, d.sigma_min, d.sigma_max)
    device = b.action.device
    return Noise(torch.zeros_like(b.action), sigma.to(device), normal.to(device))
