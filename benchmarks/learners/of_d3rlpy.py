"""d3rlpy 2.8.1's BC and IQL with their defaults, for time_to_success.py, and its TD3+BC, for td3_bc.py (see common.py).

Its TD3+BC has the settings of Fujimoto and Gu (2021): two layers of 256 with ReLU, learning rates 3e-4, batches of 256,
two critics, a target policy smoothed by noise of deviation 0.2 cut off at 0.5, an update of the policy for every second
one of the critics, lambda = 2.5 / mean |Q|.  Their normalization of states, (s - mean) / (deviation + 0.001), is asked
for here.
"""

from __future__ import annotations

import argparse
import functools
import logging
import math
import time

import d3rlpy
import structlog
from common import Actor, Trained, main, read
from d3rlpy.dataset import MDPDataset
from d3rlpy.logging import NoopAdapterFactory

KINDS = {
    "bc": d3rlpy.algos.BCConfig,
    "iql": d3rlpy.algos.IQLConfig,
    "td3-bc": functools.partial(
        d3rlpy.algos.TD3PlusBCConfig, observation_scaler=d3rlpy.preprocessing.StandardObservationScaler()
    ),
}
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
    each = A_LOOK if options.updates is None else max(1, options.updates // options.stages)
    epochs = algo.fitter(
        data,
        n_steps=options.updates or 10**9,
        n_steps_per_epoch=each,
        logger_adapter=NoopAdapterFactory(),
        show_progress=False,
    )
    began, updates = time.perf_counter(), 0
    while (taken := time.perf_counter() - began) < (options.seconds or math.inf):
        if updates + each > (options.updates or math.inf):
            break
        next(epochs)
        updates += each
        if options.updates is not None:
            algo.save(str(options.out / f"model-{updates}.d3"))
    algo.save(str(options.out / "model.d3"))
    return Trained(taken, updates)


def load(options: argparse.Namespace) -> Actor:
    name = "model" if options.stage is None else f"model-{options.stage}"
    algo = d3rlpy.load_learnable(str(options.out / f"{name}.d3"), device=False)
    return Actor(algo.observation_shape[0], algo.action_size, lambda obs: algo.predict(obs[None])[0])


if __name__ == "__main__":
    main(train, load)
