"""d3rlpy 2.8.1's BC and IQL with their defaults, for time_to_success.py (see common.py)."""

from __future__ import annotations

import argparse
import logging
import time

import d3rlpy
import structlog
from common import Actor, Trained, main, read
from d3rlpy.dataset import MDPDataset
from d3rlpy.logging import NoopAdapterFactory

KINDS = {"bc": d3rlpy.algos.BCConfig, "iql": d3rlpy.algos.IQLConfig}
A_LOOK = 50
"""Updates between two looks at the clock."""


def train(options: argparse.Namespace) -> Trained:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # no line at every look
    d3rlpy.seed(options.seed)
    flat = read(options.data)
    timeouts = flat.last & ~flat.done
    data = MDPDataset(flat.obs, flat.action, flat.reward, flat.done, timeouts)
    algo = KINDS[options.kind]().create(device=False)
    algo.build_with_dataset(data)
    epochs = algo.fitter(
        data,
        n_steps=10**9,
        n_steps_per_epoch=A_LOOK,
        logger_adapter=NoopAdapterFactory(),
        show_progress=False,
    )
    began, updates = time.perf_counter(), 0
    while (taken := time.perf_counter() - began) < options.seconds:
        next(epochs)
        updates += A_LOOK
    algo.save(str(options.out / "model.d3"))
    return Trained(taken, updates)


def load(options: argparse.Namespace) -> Actor:
    algo = d3rlpy.load_learnable(str(options.out / "model.d3"), device=False)
    return Actor(algo.observation_shape[0], algo.action_size, lambda obs: algo.predict(obs[None])[0])


if __name__ == "__main__":
    main(train, load)
