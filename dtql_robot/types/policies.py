"""What evaluation needs of a policy, as protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dtql_robot.types.arrays import Array, Obs


@dataclass(frozen=True)
class ImageObs:
    """Image observations that a policy needs: key -> (height, width, channels), and how many frames of each.

    A key is the name of a camera and "_image", as robomimic has it: "front_image", "agentview_image".
    """

    shapes: dict[str, tuple[int, int, int]]
    frames: int = 1


@runtime_checkable
class Policy(Protocol):
    """What evaluation needs of a policy.  It never learns what is behind it.

    The first `n_action_steps` of the predicted actions are executed before it is asked again.  What else a policy may
    say of itself are protocols of their own: `CombinesChunks`, `SeesImages`, `ShowsAttention`,
    `ValuesActions`, `Portable`.
    """

    @property
    def action_dim(self) -> int:
        """Entries of an action."""
        ...

    @property
    def n_action_steps(self) -> int:
        """Actions of a chunk that are executed."""
        ...

    def predict(self, obs: Obs, rngs: Sequence[np.random.Generator]) -> Array:
        """Predict the next H actions, H >= n_action_steps, of each of B robots.

        obs: key -> (B, ...).  rngs: B generators, one per robot, so that a robot's noise does not depend on
        which others share the batch.  Returns (B, H, A) float32 in environment units.
        Row b depends on row b of `obs` and on `rngs[b]` alone, bit for bit.
        """
        ...


class Judged(Protocol):
    """What an evaluation says of a policy (see `eval.EvalResult`)."""

    @property
    def episodes(self) -> int:
        """The number of episodes."""

    @property
    def success_rate(self) -> float | None:
        """The share of episodes that succeeded; None where the environment reports no success."""

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Its 95% interval."""

    @property
    def mean_return(self) -> float:
        """The mean return."""

    @property
    def return_ci95(self) -> tuple[float, float] | None:
        """Its 95% interval; None for fewer than two episodes."""

    @property
    def normalized_score(self) -> float | None:
        """0 for a random policy and 100 for an expert; None where that is not known."""


@runtime_checkable
class CombinesChunks(Protocol):
    """A policy whose later actions of a chunk count too."""

    chunk_weights: tuple[float, ...] | None
    """See `ActionPlan`; None: the newest chunk alone."""


@runtime_checkable
class SeesImages(Protocol):
    """A policy that can be shown images."""

    image_obs: ImageObs | None
    """What to show it; None where it needs none."""


@runtime_checkable
class ShowsAttention(Protocol):
    """A policy that can say where it looks."""

    def attention(self, obs: Obs, kind: Any) -> dict[str, Array]:
        """Of one robot's observation, see `OneStepPolicy.attention`."""
        ...


@runtime_checkable
class ValuesActions(Protocol):
    """A policy that can say what its critic thinks of actions."""

    def action_values(self, obs: Obs, chunks: Array) -> Array:
        """Q of the chunks (B, H, A) of B robots, see `OneStepPolicy.action_values`.  Returns (B,)."""
        ...


@runtime_checkable
class Portable(Protocol):
    """A policy that may be copied to where the simulators are."""

    def portable(self) -> Policy | None:
        """One with the same actions that can be pickled and is cheap to start; None where there is none."""
        ...


def chunk_weights_of(policy: Policy) -> tuple[float, ...] | None:
    """The policy's `chunk_weights`; None for one that says nothing of them."""
    return policy.chunk_weights if isinstance(policy, CombinesChunks) else None


def image_obs_of(policy: Policy) -> ImageObs | None:
    """The images that the policy is to be shown; None for one that sees none."""
    return policy.image_obs if isinstance(policy, SeesImages) else None
