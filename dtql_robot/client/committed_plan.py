"""An action plan for chunks that arrive late: what was executed meanwhile is committed and is not planned again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .action_plan import Array


class _Chunk(NamedTuple):
    observed_at: int
    actions: Array  # (H, A): of the steps from observed_at on


class CommittedPlan:
    """The plan of one episode whose steps are numbered from 0.

    A chunk foresees the actions of the steps from the one whose observation it was predicted from.  While it is being
    computed the robot goes on with older chunks; when it arrives, its first actions are of steps that have passed.
    With chunks that arrive at once this gives what `ActionPlan` gives, bit for bit.
    """

    def __init__(self, chunk_weights: Sequence[float] | None = None) -> None:
        """chunk_weights: see `ActionPlan`; entry k is the weight of the chunk that is k decisions old."""
        self._weights = [np.float32(w) for w in chunk_weights or (1.0,)]
        self._chunks: list[_Chunk] = []  # the newest first, no more than there are weights
        self.committed = 0
        """Steps whose action was given out: the first that a new chunk can still decide."""

    def add(self, chunk: Array, observed_at: int) -> int:
        """Take up a chunk (H, A), predicted from the observation at step `observed_at`.  Returns how many of its
        actions come too late.  ValueError for a step that was not reached, or for one before the newest."""
        if observed_at > self.committed or (self._chunks and observed_at <= self._chunks[0].observed_at):
            raise ValueError(f"a chunk of step {observed_at} does not follow: {self.committed} steps are committed")
        self._chunks = [_Chunk(observed_at, chunk), *self._chunks][: len(self._weights)]
        return min(self.committed - observed_at, len(chunk))

    def left(self) -> int:
        """Steps from the next on for which the newest chunk has an action."""
        if not self._chunks:
            return 0
        newest = self._chunks[0]
        return max(0, newest.observed_at + len(newest.actions) - self.committed)

    def next(self) -> Array | None:
        """The action (A,) of the next step, which is committed by this; None, and the step counts as passed, where no
        chunk foresees it."""
        step, self.committed = self.committed, self.committed + 1
        foreseen = [
            (weight, chunk.actions[step - chunk.observed_at])
            for weight, chunk in zip(self._weights, self._chunks, strict=False)
            if step - chunk.observed_at < len(chunk.actions)
        ]
        if not foreseen:
            return None
        if len(self._weights) == 1:
            return foreseen[0][1]
        total = np.float32(0)
        for weight, _ in foreseen:
            total += weight
        if total == 0:
            return foreseen[0][1]
        action = np.zeros_like(foreseen[0][1])
        for weight, actions in reversed(foreseen):
            action += weight * actions
        return action / total
