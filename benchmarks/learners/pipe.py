"""A policy of another environment, which acts in a process of its own (see common.py)."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np

from dtql_robot.env_record import EnvChoice
from dtql_robot.types import Array, Obs


class PipedPolicy:
    """What `evaluate` takes, one robot at a time; the process is told of every episode's start."""

    n_action_steps = 1
    recorded_env: EnvChoice | None = None
    reference_scores: tuple[float, float] | None = None

    def __init__(self, words: Sequence[str], keys: Sequence[str], env: dict[str, str], log: Any) -> None:
        """words: the command.  keys: the observations that it is shown, in this order.  env: of the process.  log: an
        open file for what it prints."""
        self.keys, self.words = keys, words
        answers, theirs = os.pipe()
        words = [*words, "--answers", str(theirs)]
        self.process: Any = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=log, stderr=log, env=env, pass_fds=(theirs,)
        )
        os.close(theirs)
        self.answers = os.fdopen(answers, "rb")
        self.obs_dim, self.action_dim = struct.unpack("<II", self._read(8))
        self._episode: np.random.Generator | None = None

    def predict(self, obs: Obs, rngs: Sequence[np.random.Generator]) -> Array:
        """The next action, (1, 1, A).  An episode has a generator of its own."""
        (rng,) = rngs
        asked = b"" if rng is self._episode else b"r"
        self._episode = rng
        row = np.concatenate([np.asarray(obs[key], np.float32).ravel() for key in self.keys])
        if len(row) != self.obs_dim:
            raise RuntimeError(f"{self.words} was trained with {self.obs_dim} entries and is shown {len(row)}")
        self.process.stdin.write(asked + b"o" + row.tobytes())
        self.process.stdin.flush()
        return np.frombuffer(self._read(4 * self.action_dim), np.float32).reshape(1, 1, -1)

    def _read(self, size: int) -> bytes:
        found = self.answers.read(size)
        if len(found) < size:
            raise RuntimeError(f"{' '.join(self.words)} ended with {self.process.wait()}")
        return found

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.answers.close()
