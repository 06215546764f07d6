"""Types that data sources, training and evaluation share.  Depends on numpy alone until `from_arrays` is called."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from dtql_robot.types.arrays import Array, Frame, Obs, Vector, image_fault, is_constant, is_image
from dtql_robot.types.policies import (
    CombinesChunks,
    ImageObs,
    Judged,
    Policy,
    Portable,
    SeesImages,
    ShowsAttention,
    ValuesActions,
    chunk_weights_of,
    image_obs_of,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Array",
    "Batch",
    "CombinesChunks",
    "Demonstrations",
    "Episode",
    "Frame",
    "ImageObs",
    "Judged",
    "Obs",
    "PixelBatch",
    "Policy",
    "Portable",
    "SeesImages",
    "ShowsAttention",
    "ValuesActions",
    "Vector",
    "chunk_weights_of",
    "halves",
    "image_fault",
    "image_obs_of",
    "is_constant",
    "is_image",
]

_SHOWN = 8  # observations that are named where demonstrations are shown


@dataclass(frozen=True)
class Episode:
    """One recorded rollout of T steps, whatever file it came from.

    name        the recording's own name, e.g. "demo_12" or "episode_3"
    obs         key -> (T, ...) observation seen before each action
    final_obs   key -> (...) observation after the last action, None if the file does not have it
    actions     (T, A) float32
    rewards     (T,) float32, as recorded
    terminated  the last step reached a state from which nothing more is earned (do not bootstrap)
    truncated   the recording was cut off (time limit, end of file), so the return goes on
    success     (T,) bool, the task's own success signal after each step; None if the file has none
    extras      key -> (T, ...) other per-step arrays of the file ("states", "infos/qpos", ...)
    attrs       per-episode attributes of the file (JSON-able values, "model_file", "seed", ...)
    masks       (T,) bool, False at a step after which nothing more counts because the task is done, while the recording
                goes on: no value looks past it.  None if every step counts
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
        """Success at the last step (False if the file has no success signal)."""
        return self.success is not None and bool(self.success[-1])

    @property
    def succeeds(self) -> bool:
        """Success at any step (False if the file has no success signal)."""
        return self.success is not None and bool(self.success.any())

    def part(self, start: int, stop: int) -> Episode:
        """Steps start, ..., stop - 1 as a recording that was cut off, unless they reach the end of this one."""
        last, steps = stop >= len(self), slice(start, stop)
        return replace(
            self,
            obs={key: values[steps] for key, values in self.obs.items()},
            final_obs=self.final_obs if last else {key: values[stop] for key, values in self.obs.items()},
            actions=self.actions[steps],
            rewards=self.rewards[steps],
            terminated=last and self.terminated,
            truncated=self.truncated or not last,
            success=None if self.success is None else self.success[steps],
            extras={key: values[steps] for key, values in self.extras.items()},
            masks=None if self.masks is None else self.masks[steps],
        )

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
    format    "robomimic", "minari", "d4rl", "ogbench", "zarr", "lerobot" or "arrays"
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
        """Demonstrations from arrays in memory, one mapping per episode of T steps.

        observations       an array, or a mapping of arrays, with T rows, or T + 1: the last one after the last action
        actions            (T, A)
        rewards            (T,); left out: unknown, and zeros are used
        success            (T,) bool after each step, or one bool for the last step
        next_observations  as observations, T rows: row t must be row t + 1 of those
        terminated, truncated  bool, or (T,) bool set at the last step only.  Left out: terminated if the last step
                           succeeds, otherwise truncated
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
        """How many episodes succeed, in words: "99 of 220 end in success, 25 without a success signal"."""
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
        facts = {"source": f"{self.source} ({self.format})", "environment": str(self.env_spec or "not recorded")}
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
