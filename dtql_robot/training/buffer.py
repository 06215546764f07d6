"""Training samples on the device: every chunk of every episode, with its exact n-step return."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dtql_robot.algorithm.peers import ALONE, Peers
from dtql_robot.config import DataConfig, Reward
from dtql_robot.errors import InputError
from dtql_robot.policy.normalize import Affine, concatenate, fit_identity, fit_range, fit_standard_of, identity
from dtql_robot.training.mapped_rows import MappedStates, allocate_rows
from dtql_robot.types import Array, Batch, Demonstrations, Episode, is_image


@dataclass(frozen=True)
class ChunkBuffer:
    """All states and actions as flat tensors, and per transition t what its chunk a[t : t + H] earns.

    states    (S, O) normalized, every episode's T observations followed by its final one
    actions   (N, A) normalized
    state     (N,) row of `states` before action t
    last      (N,) row of `actions` that ends the episode of t
    next      (N,) row of `states` after the chunk
    reward, discount, td_valid   (N,) as in `Batch`
    behaviour (K,) rows of `actions` that the policy is to behave like; None for all
    """

    states: Tensor
    actions: Tensor
    state: Tensor
    last: Tensor
    next: Tensor
    reward: Tensor
    discount: Tensor
    td_valid: Tensor
    horizon: int
    behaviour: Tensor | None = None

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def in_memory(self) -> bool:
        """Whether all of it is in the device's memory, and none in a file."""
        return True

    def batch(self, index: Tensor) -> Batch:
        """The samples that start at transitions `index` (B,)."""
        steps = index[:, None] + torch.arange(self.horizon, device=index.device)
        last = self.last.index_select(0, index)[:, None]
        chunk = torch.minimum(steps, last).flatten()
        return Batch(
            obs=self.rows(self.state.index_select(0, index)),
            action=self.actions.index_select(0, chunk).unflatten(0, steps.shape),
            valid=(steps <= last).float(),
            reward=self.reward.index_select(0, index),
            discount=self.discount.index_select(0, index),
            next_obs=self.rows(self.next.index_select(0, index)),
            td_valid=self.td_valid.index_select(0, index),
        )

    def rows(self, index: Tensor) -> Tensor:
        """The states at `index` (B,).  By index_select: `states[index]` wakes all threads, which takes far longer."""
        return self.states.index_select(0, index)

    def behaviour_actions(self) -> Tensor:
        """(K, A) the actions that the policy is to behave like."""
        return self.actions if self.behaviour is None else self.actions.index_select(0, self.behaviour)

    def sample(self, batch_size: int, generator: torch.Generator, peers: Peers = ALONE) -> Batch:
        """Uniformly drawn samples; the indices never leave the device.  Where only some transitions are behaviour, as
        many samples of those follow (`types.halves`).  peers: who else takes a share of the batch."""
        return self.batch(peers.share(self._draw(batch_size, generator)))

    def sample_each(self, batch_size: int, generators: Sequence[torch.Generator]) -> Batch:
        """What `sample` draws from each of N generators, stacked: (N, B, ...)."""
        index = torch.cat([self._draw(batch_size, g) for g in generators])
        return Batch(*(t.unflatten(0, (len(generators), -1)) for t in self.batch(index)))

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(len(self), (count,), device=self.actions.device, generator=generator)
        if self.behaviour is None:
            return index
        chosen = torch.randint(len(self.behaviour), (count,), device=self.actions.device, generator=generator)
        return torch.cat([index, self.behaviour.index_select(0, chosen)])


@dataclass(frozen=True)
class DiskChunkBuffer(ChunkBuffer):
    """A ChunkBuffer whose states lie in a file: the same samples, for data larger than memory.

    `states` is that file, mapped, and stays on the CPU; `mapped` bounds how much of it is in memory.
    """

    mapped: MappedStates | None = None

    @property
    def in_memory(self) -> bool:
        """The states are not."""
        return False

    def rows(self, index: Tensor) -> Tensor:
        """States of the given rows, read from the file."""
        assert self.mapped is not None
        return torch.from_numpy(self.mapped.rows(index.cpu().numpy())).to(index.device)


def choose_obs_keys(demos: Demonstrations, wanted: Sequence[str]) -> tuple[str, ...]:
    """The wanted observation keys, or by default all low-dimensional ones that the data holds, in its order."""
    missing = [k for k in wanted if k not in demos.obs_shapes]
    if missing:
        raise InputError(f"{demos.source} has no observation {missing}; it holds {sorted(demos.obs_shapes)}.")
    chosen = tuple(wanted) or tuple(k for k, v in demos.episodes[0].obs.items() if not is_image(v.shape[1:], v.dtype))
    if not chosen:
        raise InputError(f"{demos.source} holds images alone ({sorted(demos.obs_shapes)}); name them with --obs-keys.")
    return chosen


def resolve_reward(demos: Demonstrations, choice: Reward) -> Reward:
    """Turn "auto" into "success" where every episode has a success signal and one succeeds, else "dataset"."""
    labelled = all(e.success is not None for e in demos.episodes)
    if choice == "success" and not labelled:
        raise InputError(f"reward=success, but {demos.source} has no success signal; use reward=dataset.")
    if choice == "auto":
        succeeds = labelled and any(bool(np.any(e.success)) for e in demos.episodes)
        return "success" if succeeds else "dataset"
    return choice


def episode_rewards(episode: Episode, reward: Reward) -> Array:
    """(T,) rewards for learning: as recorded, or success - 1, a cost of 1 per step until the task is done."""
    if reward == "dataset":
        return episode.rewards
    assert episode.success is not None
    done = episode.success if episode.masks is None else episode.success | ~episode.masks
    return done.astype(np.float32) - 1.0


def chunk_returns(
    rewards: Array, discount: float, horizon: int, masks: Array | None = None
) -> tuple[Array, Array, Array | None]:
    """Discounted sum and length of each chunk, which ends with the first masked step.

    rewards: (T,).  masks: (T,) bool, or None.  Returns ((T,) float32, (T,) n in 1..horizon, (T,) bool whether a mask
    ends it, or None without masks).
    """
    steps = len(rewards)
    n = np.minimum(horizon, steps - np.arange(steps))
    padded = np.concatenate([rewards.astype(np.float64), np.zeros(horizon)])
    if masks is None:
        total = sum(discount**k * padded[k : k + steps] for k in range(horizon))
        return np.asarray(total, np.float32), n, None
    masked = np.where(masks, steps + horizon, np.arange(steps))
    until = np.minimum.accumulate(masked[::-1])[::-1] - np.arange(steps) + 1  # steps up to the next masked one
    stopped = until <= n
    n = np.minimum(n, until)
    total = sum(np.where(k < n, discount**k * padded[k : k + steps], 0.0) for k in range(horizon))
    return np.asarray(total, np.float32), n, stopped


def fit_normalizers(
    demos: Demonstrations, obs_keys: Sequence[str], obs_norm: str, action_norm: str
) -> tuple[Affine, Affine]:
    """Observation and action scaling from all recorded steps, read episode by episode (see `DataConfig`)."""
    obs = identity(sum(math.prod(demos.obs_shapes[k]) for k in obs_keys))
    if obs_keys and obs_norm == "standard":
        obs = fit_standard_of([lambda e=e: concatenate(e.obs, obs_keys) for e in demos.episodes])  # type: ignore[misc]
    extremes = np.stack([f(e.actions, axis=0) for e in demos.episodes for f in (np.min, np.max)])
    return obs, fit_identity(extremes) if action_norm == "none" else fit_range(extremes)


def make_buffer(
    demos: Demonstrations,
    cfg: DataConfig,
    discount: float,
    obs_keys: Sequence[str],
    obs_norm: Affine,
    action_norm: Affine,
    device: torch.device,
    memory_limit: int | None = None,
) -> ChunkBuffer:
    """Lay out all episodes for sampling on `device`.  `cfg.reward` must be resolved.

    States that need more than `memory_limit` bytes (by default half of what is free) are kept in a file, from which
    samples are read; they are the same samples.
    """
    transitions, episodes = demos.num_transitions, len(demos)
    size = sum(math.prod(demos.obs_shapes[k]) for k in obs_keys)
    states = allocate_rows(transitions + episodes, size, np.float32, device, memory_limit)
    columns: dict[str, Array] = {
        "actions": np.empty((transitions, demos.action_dim), np.float32),
        **{k: np.empty(transitions, np.int64) for k in ("state", "last", "next")},
        **{k: np.empty(transitions, np.float32) for k in ("reward", "discount", "td_valid")},
    }
    state_row = action_row = 0
    for e in demos.episodes:
        steps = len(e)
        obs = concatenate(e.obs, obs_keys)
        states[state_row : state_row + steps] = obs_norm.apply(obs)
        final = obs[-1:] if e.final_obs is None else concatenate({k: v[None] for k, v in e.final_obs.items()}, obs_keys)
        states[state_row + steps] = obs_norm.apply(final)[0]
        rows = slice(action_row, action_row + steps)
        columns["actions"][rows] = action_norm.apply(e.actions)
        columns["state"][rows] = state_row + np.arange(steps)
        columns["last"][rows] = action_row + steps - 1
        for key, values in _targets(e, cfg, discount).items():
            columns[key][rows] = values
        columns["next"][rows] += columns["state"][rows]
        state_row += steps + 1
        action_row += steps
    tensors = {k: torch.as_tensor(v, device=device) for k, v in columns.items()}
    if isinstance(states, np.memmap):
        return DiskChunkBuffer(torch.from_numpy(states), **tensors, horizon=cfg.horizon, mapped=MappedStates(states))
    return ChunkBuffer(states=torch.as_tensor(states, device=device), **tensors, horizon=cfg.horizon)


def _targets(e: Episode, cfg: DataConfig, discount: float) -> dict[str, Array]:
    """Per step of one episode: n-step reward, its discount, whether the target is known, and n itself as "next"."""
    steps = len(e)
    rewards = cfg.reward_scale * episode_rewards(e, cfg.reward) + cfg.reward_shift
    reward, n, stopped = chunk_returns(rewards, discount, cfg.horizon, e.masks)
    at_end = np.arange(steps) + n == steps
    done = e.terminated or (cfg.reward == "success" and e.ends_in_success)
    ended: Array = at_end & done
    worth: Array | float = _worth_after(e.ends_in_success, cfg, discount)
    if stopped is not None:  # the task is done there, whatever becomes of it until the recording ends
        at_end, ended = at_end & ~stopped, ended | stopped
        worth = np.where(stopped, _worth_after(True, cfg, discount), worth)
    return {
        "next": n,
        "reward": np.where(ended, reward + discount**n * worth, reward),
        "discount": np.where(ended, 0.0, discount**n),
        "td_valid": np.where(at_end & (not done) & (e.final_obs is None), 0.0, 1.0),
    }


def _worth_after(succeeded: bool, cfg: DataConfig, discount: float) -> float:
    """What is earned after a step with which all is over.

    With recorded rewards nothing more.  A reward for success goes on as in the last step, for ever: 0 where the task is
    done, -1 per step where it ended in failure (ending at once must not look better than going on), each scaled and
    shifted as the others are.
    """
    if cfg.reward == "dataset" or discount == 1:
        return 0.0
    a_step = cfg.reward_scale * (float(succeeded) - 1.0) + cfg.reward_shift
    return a_step / (1 - discount)
