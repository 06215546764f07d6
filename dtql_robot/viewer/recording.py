"""What the viewer shows of one episode, and where episodes come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dtql_robot.types import Array, is_image
from dtql_robot.viewer.scene import Shape


@dataclass(frozen=True)
class Recording:
    """One episode of T steps.

    positions, quaternions  (T, G, 3) and (T, G, 4) of the scene's shapes before each action; None without a simulator
    actions                 (T, A)
    states                  key -> (T, D), low-dimensional observations
    images                  key -> (T, H, W, 3) uint8, the recorded cameras
    success                 None where nobody knows
    notes                   sentences for the user
    """

    name: str
    actions: Array
    states: dict[str, Array]
    images: dict[str, Array]
    success: bool | None
    positions: Array | None = None
    quaternions: Array | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.actions)


class Source(Protocol):
    """Episodes, made when they are looked at.

    title   what is shown
    names   of the episodes
    fps     steps per second of simulated time
    shapes  the scene of the episode that was made last; empty where there is no simulator
    """

    title: str
    names: list[str]
    fps: int
    shapes: list[Shape]

    def recording(self, index: int) -> Recording:
        """The episode of this index.  InputError where it cannot be shown."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@dataclass
class Track:
    """The scene's poses while an episode goes on."""

    positions: list[Array] = field(default_factory=list)
    quaternions: list[Array] = field(default_factory=list)

    def add(self, now: tuple[Array, Array]) -> None:
        """The poses of one more step."""
        self.positions.append(now[0])
        self.quaternions.append(now[1])

    def arrays(self) -> tuple[Array, Array]:
        """(T, G, 3) and (T, G, 4)."""
        return np.stack(self.positions), np.stack(self.quaternions)


def split_observations(obs: dict[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """(low-dimensional ones (T, D), pictures (T, H, W, 3)) of key -> (T, ...).  Other pictures (depth) are left out."""
    states, images = {}, {}
    for key, values in obs.items():
        shape = values.shape[1:]
        if not is_image(shape, values.dtype):
            states[key] = np.asarray(values, np.float32).reshape(len(values), -1)
        elif len(shape) == 3 and shape[2] in (1, 3) and values.dtype == np.uint8:
            images[key] = values if shape[2] == 3 else np.repeat(values, 3, axis=3)
    return states, images
