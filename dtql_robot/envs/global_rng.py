"""Simulators that draw from numpy's global generator: seeded for a moment, without a trace for anyone else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def global_seed(seed: int | None) -> Iterator[None]:
    """Inside, numpy's global generator starts from `seed`; afterwards it goes on as if nothing had happened.

    seed: 0 to 2**32 - 1; None leaves the generator alone.
    """
    if seed is None:
        yield
        return
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
