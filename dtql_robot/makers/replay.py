"""What a maker saw while it learned, from the arrays of a replay buffer: level "replay"."""

from __future__ import annotations

from typing import Any

import numpy as np

from dtql_robot.types import Array, Demonstrations, Episode

_KEY = "observation"


def replayed(env: str, buffer: dict[str, Array], attrs: dict[str, Any]) -> Demonstrations:
    """The episodes in the order in which they were played, in `env`.

    buffer: observations and next_observations (N, O), actions (N, A) in the environment's units, rewards, dones and
    timeouts (N,).  `dones` ends an episode, `timeouts` says of such an end that it was the time limit; what follows the
    last end was cut off.
    """
    dones, timeouts = (np.asarray(buffer[key]).reshape(-1) > 0 for key in ("dones", "timeouts"))
    last = np.union1d(np.flatnonzero(dones), [len(dones) - 1])
    episodes, start = [], 0
    for number, end in enumerate(last):
        rows = slice(start, int(end) + 1)
        terminated = bool(dones[end] and not timeouts[end])
        episodes.append(
            Episode(
                name=f"episode_{number}",
                obs={_KEY: np.asarray(buffer["observations"][rows], np.float32)},
                final_obs={_KEY: np.asarray(buffer["next_observations"][end], np.float32)},
                actions=np.asarray(buffer["actions"][rows], np.float32),
                rewards=np.asarray(buffer["rewards"][rows], np.float32).reshape(-1),
                terminated=terminated,
                truncated=not terminated,
            )
        )
        start = int(end) + 1
    return Demonstrations(tuple(episodes), "a replay buffer", "arrays", env_spec=env, attrs=attrs)
