"""Scaling of observations and actions, fitted on the data and carried in the checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dtql_robot.types import Array

NEAR_CONSTANT = 1e-3
"""Standard deviations and half ranges below this count as constant: dividing by them would amplify noise."""


@dataclass(frozen=True)
class Affine:
    """x -> (x - shift) / scale, per dimension.  shift, scale: (D,) float32."""

    shift: Array
    scale: Array

    def apply(self, x: Array) -> Array:
        return ((x - self.shift) / self.scale).astype(np.float32)

    def invert(self, x: Array) -> Array:
        return (x * self.scale + self.shift).astype(np.float32)


def fit_standard(rows: Array) -> Affine:
    """Zero mean and unit deviation; near-constant dimensions are only centred.  rows: (N, D)."""
    mean, std = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    return Affine(mean.astype(np.float32), np.where(std < NEAR_CONSTANT, 1.0, std).astype(np.float32))


def fit_range(rows: Array) -> Affine:
    """The recorded range becomes [-1, 1]; near-constant dimensions become 0 and invert to themselves.  rows: (N, D)."""
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    half = (high - low) / 2
    return Affine(((low + high) / 2).astype(np.float32), np.where(half < NEAR_CONSTANT, 1.0, half).astype(np.float32))


def identity(dim: int) -> Affine:
    """Leaves x as it is."""
    return Affine(np.zeros(dim, np.float32), np.ones(dim, np.float32))


def concatenate(obs: dict[str, Array], keys: Iterable[str]) -> Array:
    """Low-dimensional observations side by side in the order of keys: key -> (N, ...) gives (N, O) float32.

    Without keys O is 0, and N is that of any observation.
    """
    rows = [np.asarray(obs[k], np.float32).reshape(len(obs[k]), -1) for k in keys]
    return np.concatenate(rows or [np.empty((len(next(iter(obs.values()))), 0), np.float32)], axis=1)
