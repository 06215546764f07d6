"""Run folders with small policies of random weights, in units far from the networks' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtql_robot import checkpoint
from dtql_robot.algorithm.agent import DTQL
from dtql_robot.algorithm.model import Model, make_networks
from dtql_robot.config import Config, DataConfig, EncoderConfig, PolicyConfig
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.normalize import Affine
from dtql_robot.policy.one_step import OneStepPolicy
from dtql_robot.run_folder import CONFIG, describe
from dtql_robot.system.files import write_json
from dtql_robot.types import Array, Demonstrations

WEIGHTS = ((0.4, 0.3, 0.2, 0.1), (0.6, 0.4), (0.75, 0.25), (1.0,))
"""Chunk weights for chunks of 4, by n_action_steps."""


def reaching_run(folder: Path, *, seed: int = 0, policy: PolicyConfig | None = None) -> Path:
    """A whole run folder of a policy of random weights for FetchReach-v4."""
    cfg = Config(seed=seed, data=DataConfig(horizon=4, n_action_steps=2), policy=policy or PolicyConfig())
    sizes = {"observation": 10, "achieved_goal": 3, "desired_goal": 3}
    face = Interface(
        obs_keys=tuple(sizes),
        obs_shapes=tuple((size,) for size in sizes.values()),
        obs_norm=Affine(np.zeros(16, np.float32), np.ones(16, np.float32)),
        action_norm=Affine(np.zeros(4, np.float32), np.ones(4, np.float32)),
        action_dim=4,
        sigma_data=0.5,
        chunk_weights=WEIGHTS,
    )
    agent = DTQL(cfg, face.obs_dim, face.action_dim, face.sigma_data, torch.device("cpu"))
    folder.mkdir(parents=True)
    checkpoint.save(folder, agent, face)
    demos = Demonstrations((), "reach.hdf5", "robomimic", env_spec="FetchReach-v4")
    write_json(folder / CONFIG, describe(demos, cfg, None))
    return folder


def small_policy(**options: Any) -> OneStepPolicy:
    """The policy of `save_policy`, without a file and in a tenth of the time."""
    cfg, face = settings(**options)
    device = torch.device("cpu")
    networks = make_networks(cfg, face.obs_dim, face.action_dim, face.sigma_data, device, face.image_shapes)
    model = Model(cfg, networks, device)
    _disagree(model)
    return OneStepPolicy(model, face)


def save_policy(folder: Path, **options: Any) -> Path:
    """A run folder's checkpoint.  options: see `settings`."""
    cfg, face = settings(**options)
    agent = DTQL(cfg, face.obs_dim, face.action_dim, face.sigma_data, torch.device("cpu"), face.image_shapes)
    _disagree(agent)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(folder, agent, face)
    return folder


def _disagree(model: Model) -> None:
    """Weights whose actions are far apart."""
    with torch.no_grad():
        for network in (model.ema_policy, model.target_q):
            for p in network.parameters():
                p.mul_(1.5).add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))


def settings(
    *, policy: PolicyConfig | None = None, images: bool = False, frames: int = 1, n_action_steps: int = 2
) -> tuple[Config, Interface]:
    """A small policy's.  images: two cameras beside the low-dimensional observations."""
    encoder = EncoderConfig(frame_stack=frames, encoder="cnn", image_features=8, augment_pixels=2)
    cfg = Config(
        data=DataConfig(horizon=4, n_action_steps=n_action_steps),
        policy=policy or PolicyConfig(),
        encoder=encoder,
    )
    rng = np.random.default_rng(0)
    cameras = {"front_image": (40, 48, 3), "wrist_image": (44, 44, 1)} if images else {}
    face = Interface(
        obs_keys=("pose", "goal", *cameras),
        obs_shapes=((2, 2), (3,), *cameras.values()),
        obs_norm=Affine(rng.normal(size=7).astype(np.float32), rng.uniform(0.01, 5, 7).astype(np.float32)),
        action_norm=Affine(np.array([0.1, -0.2], np.float32), np.array([0.5, 2.0], np.float32)),
        action_dim=2,
        sigma_data=0.5,
        image_keys=tuple(cameras),
        chunk_weights=WEIGHTS,
    )
    return cfg, face


def observation(seed: int, images: bool = False) -> dict[str, Array]:
    """What such a policy reads, of one robot: key -> (...)."""
    rng = np.random.default_rng(seed)
    obs: dict[str, Array] = {"pose": rng.normal(size=(2, 2)), "goal": rng.normal(size=3).astype(np.float32)}
    if images:
        obs["front_image"] = rng.integers(256, size=(40, 48, 3), dtype=np.uint8)
        obs["wrist_image"] = rng.integers(256, size=(44, 44, 1), dtype=np.uint8)
    return obs
