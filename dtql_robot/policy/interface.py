"""What a policy reads and writes: the entries of observations and actions, and their scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.errors import InputError
from dtql_robot.policy.normalize import Affine, concatenate
from dtql_robot.types import Array, ImageObs, Obs

FAR = 1e4
"""Deviations from the training data beyond which a network's arithmetic may overflow."""


@dataclass(frozen=True)
class Interface:
    """What the policy reads and writes: everything acting needs beside the weights.

    obs_keys, obs_shapes   observation entries in the order the networks see them
    image_keys             those of them that are images, (height, width, channels) uint8, and go through an encoder
    obs_norm, action_norm  scaling to and from the networks' units; obs_norm is of the low-dimensional ones
    action_dim             A
    sigma_data             standard deviation of the normalized actions
    chunk_weights          what chunks of different age count, see `chunk_weights.Weights`; empty before they are fitted
    """

    obs_keys: tuple[str, ...]
    obs_shapes: tuple[tuple[int, ...], ...]
    obs_norm: Affine
    action_norm: Affine
    action_dim: int
    sigma_data: float
    image_keys: tuple[str, ...] = ()
    chunk_weights: tuple[tuple[float, ...], ...] = ()

    @property
    def obs_dim(self) -> int:
        """Low-dimensional entries."""
        return len(self.obs_norm.shift)

    @property
    def low_keys(self) -> tuple[str, ...]:
        """The observations that are no images, in order."""
        return tuple(k for k in self.obs_keys if k not in self.image_keys)

    @property
    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Image -> (H, W, C)."""
        shapes = dict(zip(self.obs_keys, self.obs_shapes, strict=True))
        return {k: shapes[k] for k in self.image_keys}

    def read(self, obs: Obs, frames: int = 1) -> Array:
        """The low-dimensional entries as the networks see them, of observations that are checked (see `check`).

        obs: key -> (B, ...).  Returns (B, O) normalized, finite.
        """
        self._check_shapes(obs, frames)
        rows = self._rows(obs)
        if not np.isfinite(rows).all():
            raise InputError(self._not_finite(obs))
        return self.obs_norm.apply(rows)

    def check(self, obs: Obs, frames: int = 1) -> None:
        """InputError where obs, key -> (B, ...), is not what the policy was trained on, or is NaN or infinite.

        Images: (B, height, width, channels), with several frames (B, frames, height, width, channels).
        """
        self._check_shapes(obs, frames)
        if not np.isfinite(self._rows(obs)).all():
            raise InputError(self._not_finite(obs))

    def check_actions(self, actions: Array, obs: Obs) -> None:
        """No NaN leaves: FloatingPointError where actions are not finite, which says what obs have to do with it."""
        if np.isfinite(actions).all():
            return
        with np.errstate(all="ignore"):
            size = np.abs(self.obs_norm.apply(self._rows(obs))).max(axis=0, initial=0)
        reason = "Its weights have diverged in training."
        if size.size and size.max() > FAR:
            reason = f"These are up to {size.max():.1g} deviations away from the training data's."
        raise FloatingPointError(f"the policy's actions are NaN or infinite for finite observations. {reason}")

    def _rows(self, obs: Obs) -> Array:
        try:
            return concatenate(dict(obs), self.low_keys)
        except (TypeError, ValueError) as error:
            kinds = ", ".join(f"{k}: {np.asarray(obs[k]).dtype}" for k in self.low_keys)
            raise InputError(f"observations must be numbers, one row per robot; found {kinds} ({error}).") from error

    def _not_finite(self, obs: Obs) -> str:
        """Names the first entry that is to blame."""
        for key in self.low_keys:
            values = np.asarray(obs[key], np.float32)
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                robot, *entry = bad[0].tolist()
                where = f" entry {entry[0] if len(entry) == 1 else tuple(entry)}" if entry else ""
                which = f" of robot {robot}" if len(values) > 1 else ""
                found = np.asarray(obs[key])[tuple(bad[0])]
                return (
                    f"observation {key!r}{where}{which} is {found}; expected a finite float32 number. "
                    f"Check the sensor or simulator it came from; the policy was not run."
                )
        return "an observation is NaN or infinite."

    def _check_shapes(self, obs: Obs, frames: int) -> None:
        for key, shape in zip(self.obs_keys, self.obs_shapes, strict=True):
            if key not in obs:
                raise InputError(f"the policy was trained on observation {key!r}; got {sorted(obs)}.")
            image = key in self.image_keys
            expected = (frames, *shape) if image and frames > 1 else shape
            found = np.shape(obs[key])[1:]
            if found != expected:
                turned = image and found[-3:] == (shape[2], shape[0], shape[1])
                order = ": its channels come first, they must come last" if turned else ""
                raise InputError(f"observation {key!r} has shape {found}; trained on {expected}{order}.")
            if image and (dtype := np.asarray(obs[key]).dtype) != np.uint8:
                raise InputError(f"observation {key!r} is {dtype}; images must be uint8, 0 to 255.")

    def example(self, rng: np.random.Generator, images: ImageObs | None = None) -> dict[str, Array]:
        """An observation of one robot near the training data, key -> (1, ...).  images: those that the policy sees."""
        sizes = [math.prod(s) for k, s in zip(self.obs_keys, self.obs_shapes, strict=True) if k in self.low_keys]
        low = iter(np.split(self.obs_norm.invert(rng.standard_normal(self.obs_dim)), np.cumsum(sizes)[:-1]))
        frames = (images.frames,) if images and images.frames > 1 else ()
        return {
            key: rng.integers(256, size=(1, *frames, *shape), dtype=np.uint8)
            if key in self.image_keys
            else next(low).reshape(1, *shape)
            for key, shape in zip(self.obs_keys, self.obs_shapes, strict=True)
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors, as weights-only loading accepts them."""
        import torch

        norms = {"obs_norm": self.obs_norm, "action_norm": self.action_norm}
        tensors = {k: {"shift": torch.tensor(n.shift), "scale": torch.tensor(n.scale)} for k, n in norms.items()}
        return {**self._names_and_sizes(), **tensors}

    def to_json(self) -> dict[str, Any]:
        """As `to_dict`, with lists of numbers that give the same float32 back."""
        norms = {"obs_norm": self.obs_norm, "action_norm": self.action_norm}
        lists = {k: {"shift": n.shift.tolist(), "scale": n.scale.tolist()} for k, n in norms.items()}
        return {**self._names_and_sizes(), **lists}

    def _names_and_sizes(self) -> dict[str, Any]:
        return {
            "obs_keys": list(self.obs_keys),
            "obs_shapes": [list(s) for s in self.obs_shapes],
            "action_dim": self.action_dim,
            "sigma_data": self.sigma_data,
            "image_keys": list(self.image_keys),
            "chunk_weights": [list(weights) for weights in self.chunk_weights],
        }

    @staticmethod
    def from_dict(d: dict[str, Any]) -> Interface:
        """The interface that `to_dict` or `to_json` described."""
        norms = {k: Affine(_numbers(d[k]["shift"]), _numbers(d[k]["scale"])) for k in ("obs_norm", "action_norm")}
        return Interface(
            tuple(d["obs_keys"]),
            tuple(tuple(s) for s in d["obs_shapes"]),
            action_dim=d["action_dim"],
            sigma_data=d["sigma_data"],
            image_keys=tuple(d.get("image_keys", ())),
            chunk_weights=tuple(tuple(weights) for weights in d.get("chunk_weights", ())),
            **norms,
        )


def _numbers(values: Any) -> Array:
    """A tensor, on any device, or a list."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values, np.float32)
