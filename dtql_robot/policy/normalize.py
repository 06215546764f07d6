"""Scaling of observations and actions, fitted on the data and carried in the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dtql_robot.types import Array, is_constant


@dataclass(frozen=True)
class Affine:
    """x -> (x - shift) / scale, per dimension.  shift, scale: (D,) float32.

    Where scale is 0 everything becomes 0 and comes back as the shift, exactly: a dimension that never moves.
    """

    shift: Array
    scale: Array

    def apply(self, x: Array) -> Array:
        """x: (..., D) in the data's units.  Returns float32 in the networks' units."""
        if self.scale.all():
            return ((x - self.shift) / self.scale).astype(np.float32)
        still = self.scale == 0
        return np.where(still, 0, (x - self.shift) / np.where(still, 1, self.scale)).astype(np.float32)

    def invert(self, x: Array) -> Array:
        """x: (..., D) in the networks' units.  Returns float32 in the data's units."""
        return (x * self.scale + self.shift).astype(np.float32)


def fit_standard(rows: Array) -> Affine:
    """Zero mean and unit deviation; constant dimensions are only centred.  rows: (N, D)."""
    return fit_standard_of([lambda: rows])


def fit_standard_of(parts: Sequence[Callable[[], Array]]) -> Affine:
    """`fit_standard` of rows that come in parts (N_i, D), each made twice and dropped again."""
    count, total, largest = 0, np.float64(0), np.float64(0)
    for part in parts:
        rows = part()
        count, total = count + len(rows), total + rows.sum(axis=0, dtype=np.float64)
        largest = np.maximum(largest, np.maximum(rows.max(axis=0), -rows.min(axis=0)))
    mean = total / count
    std = np.sqrt(sum(np.square(part() - mean).sum(axis=0) for part in parts) / count)
    # In units of its own size, what differs from a constant later stays a number of sensible size.
    scale = np.where(is_constant(std, largest), np.maximum(largest, 1.0), std)
    return Affine(mean.astype(np.float32), scale.astype(np.float32))


def fit_range(extremes: Array) -> Affine:
    """The recorded range becomes [-1, 1]; constant dimensions become 0 and invert to exactly their value.

    extremes: (N, D) rows whose smallest and largest values are those of the data.
    """
    low, high = extremes.min(axis=0).astype(np.float64), extremes.max(axis=0).astype(np.float64)
    half = (high - low) / 2
    still = is_constant(half, np.maximum(-low, high))
    return Affine(((low + high) / 2).astype(np.float32), np.where(still, 0.0, half).astype(np.float32))


def fit_identity(extremes: Array) -> Affine:
    """Leaves everything as it is, but for constant dimensions, as in `fit_range`."""
    fitted = fit_range(extremes)
    still = fitted.scale == 0
    return Affine(np.where(still, fitted.shift, np.float32(0)), np.where(still, np.float32(0), np.float32(1)))


def identity(dim: int) -> Affine:
    """Leaves x as it is."""
    return Affine(np.zeros(dim, np.float32), np.ones(dim, np.float32))


def concatenate(obs: dict[str, Array], keys: Iterable[str]) -> Array:
    """Low-dimensional observations side by side in the order of keys: key -> (N, ...) gives (N, O) float32.

    Without keys O is 0, and N is that of any observation.
    """
    rows = [np.asarray(obs[k], np.float32).reshape(len(obs[k]), -1) for k in keys]
    return np.concatenate(rows or [np.empty((len(next(iter(obs.values()))), 0), np.float32)], axis=1)


def action_std(actions: Array) -> float:
    """Root mean square of the actions' per-dimension standard deviations: EDM's sigma_data.  actions: (N, A)."""
    return float(max(np.sqrt(actions.var(axis=0).mean()), 1e-2))
