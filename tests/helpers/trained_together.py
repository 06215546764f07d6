"""Under torchrun: every case is trained by all processes together, into a folder of its own.

python -m torch.distributed.run ... tests/helpers/trained_together.py FOLDER
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch

from dtql_robot.config import (
    Config,
    CriticConfig,
    DataConfig,
    DiffusionConfig,
    EncoderConfig,
    OptimConfig,
    PolicyConfig,
)
from dtql_robot.training.distributed import Group, group_of
from dtql_robot.training.loop import train_into
from dtql_robot.training.prepare import resolve
from dtql_robot.training.together import claimed_by_first
from dtql_robot.types import Demonstrations
from tests.conftest import make_episode
from tests.training.test_pixels import episode as pixel_episode

BATCH = 32
UPDATES = 20


def low_dim() -> Demonstrations:
    """Some fail, and the end of one is not known: the advantage's spread and the count of targets matter."""
    episodes = tuple(make_episode(f"demo_{i}", 10 + i, seed=i, success=i % 2 == 0, final=i != 3) for i in range(6))
    return Demonstrations(tuple(dataclasses.replace(e, terminated=False) for e in episodes), "synthetic", "robomimic")


def pixels() -> Demonstrations:
    """Two cameras."""
    episodes = tuple(pixel_episode(f"demo_{i}", 8 + i, i, final=i != 1) for i in range(4))
    return Demonstrations(episodes, "squares", "robomimic")


def config(**changes) -> Config:
    """The default recipe, its networks made small."""
    small = Config(
        steps=UPDATES,
        device="cpu",
        log_every=5,
        checkpoint_every=100,
        threads=1,
        diffusion=DiffusionConfig(denoiser_width=16, denoiser_blocks=1),
        policy=PolicyConfig(policy_hidden=(16, 16)),
        critic=CriticConfig(critic_hidden=(16, 16)),
        optim=OptimConfig(batch_size=BATCH),
    )
    for part, settings in changes.items():
        changed = dataclasses.replace(getattr(small, part), **settings) if isinstance(settings, dict) else settings
        small = dataclasses.replace(small, **{part: changed})
    return small


IMAGES: dict[str, Any] = {
    "data": DataConfig(obs_keys=("state", "front_image", "wrist_image"), horizon=2, n_action_steps=2),
    "encoder": EncoderConfig(image_features=8, augment_pixels=2),
}
HALVES = {**IMAGES, "data": dataclasses.replace(IMAGES["data"], behaviour="successes")}
CASES: dict[str, tuple[Demonstrations, Config]] = {
    "default": (low_dim(), config()),
    "noise": (low_dim(), config(optim={"obs_noise": 0.1}, policy={"tr_at": "sample", "nll": "tanh"})),
    "value": (low_dim(), config(policy={"q_unit": "value", "awr_temperature": 2.0})),
    "kl": (low_dim(), config(policy={"regularizer": "kl"})),
    "q-networks": (low_dim(), config(critic={"q_networks": 4})),
    "halves": (low_dim(), config(data=DataConfig(behaviour="successes"))),
    "images": (pixels(), config(**IMAGES)),
    "images-halves": (
        pixels(),
        config(**IMAGES | {"data": dataclasses.replace(IMAGES["data"], behaviour="successes")}),
    ),
}


def main(folder: Path) -> None:
    """Train every case; the last one, "resumed", goes on from where one process has left it."""
    torch.set_num_threads(1)
    with group_of(config()) as group:
        assert group is not None
        for name, (demos, cfg) in {**CASES, "resumed": CASES["default"]}.items():
            group = Group(cfg.optim.batch_size)
            with claimed_by_first(group, folder / name, cfg.seed, resume=name == "resumed") as folders:
                settings = resolve(demos, cfg)
                train_into(folders, demos, settings, resume=name == "resumed", progress=False, group=group)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
