"""robomimic 0.3's BC with its defaults, for time_to_success.py (see common.py).

The data set, its loader and the steps of an epoch are robomimic's own (`SequenceDataset`, all of it cached;
`TrainUtils.run_epoch`), cut to the time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import before_torchvision  # noqa: F401
import h5py
import numpy as np
import robomimic.utils.obs_utils as obs_utils
import torch
from common import Actor, Trained, main, until
from robomimic.algo import RolloutPolicy, algo_factory
from robomimic.config import config_factory
from robomimic.utils.dataset import SequenceDataset
from torch.utils.data import DataLoader

SHAPES = "shapes.json"


def make(shapes: dict[str, Any]) -> Any:
    """robomimic's BC over low-dimensional observations.  shapes: of each observation, and "ac_dim"."""
    config = config_factory("bc")
    with config.values_unlocked():
        config.observation.modalities.obs.low_dim = list(shapes["obs"])
    obs_utils.initialize_obs_utils_with_config(config)
    found = {key: tuple(shape) for key, shape in shapes["obs"].items()}
    model = algo_factory("bc", config, found, shapes["ac_dim"], torch.device("cpu"))
    return config, model


def read_shapes(file: Path, keys: list[str]) -> dict[str, Any]:
    with h5py.File(file) as opened:
        demo = next(iter(opened["data"].values()))
        obs = {key: demo["obs"][key].shape[1:] for key in keys}
        return {"obs": obs, "ac_dim": demo["actions"].shape[1]}


def train(options: argparse.Namespace) -> Trained:
    shapes = read_shapes(options.file, options.keys.split(","))
    config, model = make(shapes)
    data = SequenceDataset(
        hdf5_path=str(options.file),
        obs_keys=list(shapes["obs"]),
        dataset_keys=config.train.dataset_keys,
        load_next_obs=False,
        frame_stack=config.train.frame_stack,
        seq_length=config.train.seq_length,
        hdf5_cache_mode="all",
    )
    batches = _forever(DataLoader(data, config.train.batch_size, shuffle=True, drop_last=True))
    model.set_train()

    def update() -> None:
        batch = model.process_batch_for_training(next(batches))
        model.train_on_batch(batch, epoch=0, validate=False)

    trained = until(options.seconds, update)
    torch.save(model.serialize(), options.out / "model.pt")
    (options.out / SHAPES).write_text(json.dumps(shapes))
    return trained


def _forever(loader: DataLoader) -> Iterator[Any]:
    while True:
        yield from loader


def load(options: argparse.Namespace) -> Actor:
    shapes = json.loads((options.out / SHAPES).read_text())
    _, model = make(shapes)
    model.deserialize(torch.load(options.out / "model.pt"))
    policy = RolloutPolicy(model)
    sizes = [int(np.prod(shape)) for shape in shapes["obs"].values()]

    def act(obs: np.ndarray) -> np.ndarray:
        parts = np.split(obs, np.cumsum(sizes)[:-1])
        named = {k: part.reshape(shapes["obs"][k]) for k, part in zip(shapes["obs"], parts, strict=True)}
        return policy(named)

    return Actor(sum(sizes), shapes["ac_dim"], act, policy.start_episode)


if __name__ == "__main__":
    main(train, load)
