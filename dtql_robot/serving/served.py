"""A policy as a server has it, and what it tells clients of it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot import __version__
from dtql_robot.errors import InputError
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.numpy_policy import NumpyPolicy
from dtql_robot.types import Policy, chunk_weights_of, image_obs_of

PROTOCOL = 1
"""Raised where clients of before could not go on."""
ROOM = 65536  # bytes of a message beside the observations: names, a prompt, what else a client sends along


@dataclass(frozen=True)
class Served:
    """policy: it acts.  task: what it was trained for, None where nobody knows.  interface: what it reads."""

    policy: Policy
    interface: Interface
    task: str | None = None

    @property
    def frames(self) -> int:
        """How many of each image it sees at once."""
        images = image_obs_of(self.policy)
        return images.frames if images else 1

    @property
    def largest_message(self) -> int:
        """Bytes of the largest request: numbers of 8 bytes, written twice as long as they must be."""
        face, size = self.interface, 0
        for key, shape in zip(face.obs_keys, face.obs_shapes, strict=True):
            size += math.prod(shape) * (self.frames if key in face.image_keys else 16)
        return size + ROOM

    @property
    def in_place(self) -> bool:
        """Whether it answers so soon that no thread is worth it: a mean in NumPy, without images."""
        return isinstance(self.policy, NumpyPolicy)

    def metadata(self) -> dict[str, Any]:
        """The handshake: versions, names, shapes and the action plan."""
        face, policy = self.interface, self.policy
        weights = chunk_weights_of(policy)
        return {
            "package": "dtql-robot",
            "version": __version__,
            "protocol": PROTOCOL,
            "task": self.task,
            "observations": {
                key: {
                    "shape": list(shape),
                    "dtype": "uint8" if key in face.image_keys else "float32",
                    "image": key in face.image_keys,
                }
                for key, shape in zip(face.obs_keys, face.obs_shapes, strict=True)
            },
            "frames": self.frames,
            "action_dim": face.action_dim,
            "horizon": self.horizon,
            "n_action_steps": policy.n_action_steps,
            "chunk_weights": None if weights is None else list(weights),
        }

    @functools.cached_property
    def horizon(self) -> int:
        """Actions of a chunk, as the policy itself answers."""
        return len(self.try_out())

    def try_out(self) -> Any:
        """The chunk (H, A) for an observation near the training data: what cannot act is not served."""
        obs = self.interface.example(np.random.default_rng(0), image_obs_of(self.policy))
        try:
            return self.policy.predict(obs, [np.random.default_rng(0)])[0]
        except FloatingPointError as error:
            raise InputError(f"the policy cannot be served: {error}") from error
