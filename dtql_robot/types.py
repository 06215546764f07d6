"""Types that data sources, training and evaluation share.  Depends on numpy alone until `from_arrays` is called."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
Frame = NDArray[np.uint8]
"""(H, W, 3) colours, 0 to 255."""
Vector = NDArray[np.float64]
Obs = Mapping[str, Array]

_PICTURE = 1024  # values from which an array of two or more axes, or any bytes, are taken for a picture
_CHANNELS = (1, 3, 4)
_SMALLEST_SIDE = 8  # pixels, of a picture with a channel axis


def is_image(shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether one observation of this shape and type is a picture: colour, grey, depth, masks, several frames.

    Everything else is low-dimensional and may be flattened.  A picture is uint8 with two or more axes, or has 1024
    values or more in two or more axes (or in bytes), or is (height, width, channels) in either order.
    """
    shape, size = tuple(shape), math.prod(shape)
    if dtype == np.uint8:
        return len(shape) >= 2 or size >= _PICTURE
    if len(shape) == 3 and sorted(shape)[1] >= _SMALLEST_SIDE and (shape[0] in _CHANNELS or shape[2] in _CHANNELS):
        return True
    return len(shape) >= 2 and size >= _PICTURE


def image_fault(shape: Sequence[int], dtype: np.dtype[Any]) -> str | None:
    """Why no encoder reads a picture of this shape and type, with the remedy; None for (H, W, 1 or 3) uint8."""
    found = f"{dtype} of shape {tuple(shape)}"
    if len(shape) == 3 and shape[2] in (1, 3):
        if dtype == np.uint8:
            return None
        scaled = "scaled to 0 to 255 as uint8 in a new file"
        return f"{found}; uint8 images, 0 to 255, were expected. Write them {scaled}, or leave the key out."
    if len(shape) == 3 and shape[0] in (1, 3):
        return f"{found}, channels first; (height, width, channels) was expected. Write np.moveaxis(images, 1, -1)."
    if len(shape) == 2 and dtype == np.uint8:
        return f"{found}, without channels; (height, width, 1) was expected. Write images[..., None]."
    return (f"{found}; images are (height, width, 1 or 3) uint8. Leave the key out; where these are plain numbers and "
            "no picture, write them flat, with one axis a step.")  # fmt: skip


def is_constant(spread: Array | float, largest: Array | float) -> Array:
    """Whether numbers that differ by `spread` and are at most `largest` in size are one value up to float32's rounding.

    Elementwise.  The one rule of scaling and of what users are told: relative, so that no unit is too small for it.
    """
    limits = np.finfo(np.float32)
    return np.asarray(spread) <= np.maximum(_ROUNDINGS * limits.eps * np.asarray(largest, np.float64), limits.tiny)


_SHOWN = 8  # observations that are named where demonstrations are shown
_ROUNDINGS = 16  # what a short computation in float32 may add up to, in units in the last place


@dataclass(frozen=True)
class Episode:
    """One recorded rollout of T steps, whatever file it came from.

    name        the recording's own name, e.g. "demo_12" or "episode_3"
    obs         key -> (T, ...) observation seen before each action
    final_obs   key -> (...) observation after the last action, None where the file does not hold it
    actions     (T, A) float32
    rewards     (T,) float32, as recorded
    terminated  the last step reached a state from which nothing more is earned (do not bootstrap)
    truncated   the recording was cut off (time limit, end of file), so the return goes on
    success     (T,) bool, the task's own success signal after each step; None where the file has none
    extras      key -> (T, ...) other per-step arrays of the file ("states", "infos/qpos", ...)
    attrs       per-episode attributes of the file (JSON-able values, "model_file", "seed", ...)
    masks       (T,) bool, False at a step after which nothing more counts because the task is done, while the recording
                goes on: no value looks past it.  None where every step counts
    """

    name: str
    obs: dict[str, Array]
    final_obs: dict[str, Array] | None
    actions: Array
    rewards: Array
    terminated: bool
    truncated: bool
    success: Array | None = None
    extras: dict[str, Array] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    masks: Array | None = None

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def ends_in_success(self) -> bool:
        """Success at the last step (False where the file has no success signal)."""
        return self.success is not None and bool(self.success[-1])

    @property
    def succeeds(self) -> bool:
        """Success at any step (False where the file has no success signal)."""
        return self.success is not None and bool(self.success.any())

    def __repr__(self) -> str:
        obs = ", ".join(f"{k}{v.shape[1:]}" for k, v in self.obs.items())
        return (
            f"Episode({self.name!r}, T={len(self)}, obs=[{obs}], action={self.actions.shape[1:]}, "
            f"return={float(self.rewards.sum()):.2f}, success={None if self.success is None else self.ends_in_success})"
        )


@dataclass(frozen=True)
class Demonstrations:
    """The episodes of one source and what the source says about its environment.

    source    the path or id as the user gave it
    format    "robomimic", "minari", "d4rl", "ogbench", "zarr" or "arrays"
    env_spec  environment in this package's notation ("FetchPush-v4", "robosuite:Lift"); None if not recorded
    env_args  the source's own environment record (robomimic `env_args`, Minari `env_spec`), verbatim
    attrs     what else the source says about itself, JSON-able (language instruction, author, date, versions, ...)
    """

    episodes: tuple[Episode, ...]
    source: str
    format: str
    env_spec: str | None = None
    env_args: dict[str, Any] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_arrays(
        cls, episodes: Iterable[Mapping[str, Any]], *, env: str | None = None, source: str = "arrays"
    ) -> Demonstrations:
        """Demonstrations from arrays in memory, one mapping an episode of T steps.

        observations       an array, or a mapping of arrays, with T rows, or T + 1: the last one after the last action
        actions            (T, A)
        rewards            (T,); left out: none are known, and zeros stand in
        success            (T,) bool after each step, or one bool for the last step
        next_observations  as observations, T rows: row t must be row t + 1 of those
        terminated, truncated  bool, or (T,) bool set at the last step alone.  Left out: terminated where the last step
                           succeeds, else truncated
        masks              (T,), 0 where the task is done: nothing after that step counts, it may go on; else 1
        extras             name -> (T, ...) other arrays; attrs: name -> JSON-able value; name: the episode's own

        env: the environment they were recorded in, as `--env` takes it.  source: what messages call them.
        Raises InputError, with episode and key, for anything that a file's reader would refuse.  Arrays that are
        float32 or images already are not copied.
        """
        from dtql_robot.datasets.formats.arrays import from_arrays

        return from_arrays(episodes, env=env, source=source)

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def action_dim(self) -> int:
        """Entries of an action."""
        return int(self.episodes[0].actions.shape[1])

    @property
    def obs_shapes(self) -> dict[str, tuple[int, ...]]:
        """Observation -> shape of one step."""
        return {k: tuple(v.shape[1:]) for k, v in self.episodes[0].obs.items()}

    @property
    def num_transitions(self) -> int:
        """Steps of all episodes together."""
        return sum(len(e) for e in self.episodes)

    def outcomes(self) -> str:
        """How many episodes succeed, in words: "99 of 220 end in success, 220 succeed at some step, 25 unlabelled"."""
        labelled = [e for e in self.episodes if e.success is not None]
        if not labelled:
            return "no success signal"
        ends, ever = sum(e.ends_in_success for e in labelled), sum(e.succeeds for e in labelled)
        text = f"{ends} of {len(labelled)} end in success"
        text += f", {ever} succeed at some step" if ever > ends else ""
        unlabelled = len(self) - len(labelled)
        return text + (f", {unlabelled} without a success signal" if unlabelled else "")

    def __repr__(self) -> str:
        return f"Demonstrations({', '.join(f'{k}: {v}' for k, v in self._facts().items())})"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        cells = ((html.escape(k), html.escape(v)) for k, v in self._facts().items())
        rows = "".join(f"<tr><th style='text-align:left'>{k}</th><td>{v}</td></tr>" for k, v in cells)
        return f"<table>{rows}</table>"

    def _facts(self) -> dict[str, str]:
        """What is shown of demonstrations: short, however many there are."""
        facts = {"source": f"{self.source} ({self.format})", "environment": str(self.env_spec)}
        if not self.episodes:
            return facts | {"episodes": "0"}
        lengths = [len(e) for e in self.episodes]
        shapes = [f"{k} {v}" for k, v in self.obs_shapes.items()]
        shapes = shapes[:_SHOWN] + ([f"and {len(shapes) - _SHOWN} more"] if len(shapes) > _SHOWN else [])
        return facts | {
            "episodes": f"{len(self)} of {min(lengths)} to {max(lengths)} steps",
            "transitions": str(self.num_transitions),
            "observations": ", ".join(shapes),
            "actions": f"({self.action_dim},)",
            "success": self.outcomes(),
        }


class Batch(NamedTuple):
    """B training samples: a state, the chunk of H recorded actions from it, and its n-step return (n <= H).

    obs        (B, O) normalized
    action     (B, H, A) normalized to [-1, 1]; past the episode's end the last action is repeated
    valid      (B, H) 1 where the action was recorded, 0 past the episode's end
    reward     (B,) sum of discount**k * reward over the n recorded steps of the chunk
    discount   (B,) discount**n, 0 where the chunk ends in a terminal state
    next_obs   (B, O) state after the n steps
    td_valid   (B,) 0 where the target is unknown: cut-off episode without a final observation
    """

    obs: Tensor
    action: Tensor
    valid: Tensor
    reward: Tensor
    discount: Tensor
    next_obs: Tensor
    td_valid: Tensor


def halves(b: Batch) -> tuple[Batch, Batch]:
    """A batch of samples for the critic and then as many of the behaviour to learn, (..., 2 B) rows: the two of B."""
    size, axis = b.reward.shape[-1] // 2, b.reward.ndim - 1
    return Batch(*(t.narrow(axis, 0, size) for t in b)), Batch(*(t.narrow(axis, size, size) for t in b))


class PixelBatch(NamedTuple):
    """A batch with images, before they are encoded.

    low          the samples with low-dimensional observations alone, (B, L) where O stands; L may be 0
    images       key -> (B, frames, height, width, channels) uint8, the frames up to and including the state's
    next_images  as `images` after the n steps; empty where no critic reads them
    """

    low: Batch
    images: dict[str, Tensor]
    next_images: dict[str, Tensor]


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
    say of itself are protocols of their own: `CombinesChunks`, `SeesImages`, `ShowsAttention`, `Portable`.
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
        """The share of episodes that succeeded; None where the environment tells no success."""

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Its 95% interval."""

    @property
    def mean_return(self) -> float:
        """The mean return."""

    @property
    def return_ci95(self) -> tuple[float, float] | None:
        """Its 95% interval; None for fewer than two episodes."""


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
