"""Training samples on the device: every chunk of every episode, with its exact n-step return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dtql_robot.config import DataConfig, Reward
from dtql_robot.errors import InputError
from dtql_robot.normalize import Affine, concatenate, fit_range, fit_standard, identity
from dtql_robot.types import Array, Batch, Demonstrations, Episode


@dataclass(frozen=True)
class ChunkBuffer:
    """All states and actions as flat tensors, and per transition t what its chunk a[t : t + H] earns.

    states    (S, O) normalized, every episode's T observations followed by its final one
    actions   (N, A) normalized
    state     (N,) row of `states` before action t
    last      (N,) row of `actions` that ends the episode of t
    next      (N,) row of `states` after the chunk
    reward, discount, td_valid   (N,) as in `Batch`
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

    def __len__(self) -> int:
        return len(self.actions)

    def batch(self, index: Tensor) -> Batch:
        """The samples that start at transitions `index` (B,)."""
        steps = index[:, None] + torch.arange(self.horizon, device=index.device)
        last = self.last[index][:, None]
        return Batch(
            obs=self.states[self.state[index]],
            action=self.actions[torch.minimum(steps, last)],
            valid=(steps <= last).float(),
            reward=self.reward[index],
            discount=self.discount[index],
            next_obs=self.states[self.next[index]],
            td_valid=self.td_valid[index],
        )

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """Uniformly drawn samples; the indices never leave the device."""
        index = torch.randint(len(self), (batch_size,), device=self.actions.device, generator=generator)
        return self.batch(index)


def choose_obs_keys(demos: Demonstrations, wanted: Sequence[str]) -> tuple[str, ...]:
    """The wanted observation keys, or by default all that the data holds, in its order."""
    missing = [k for k in wanted if k not in demos.obs_shapes]
    if missing:
        raise InputError(f"{demos.source} has no observation {missing}; it holds {sorted(demos.obs_shapes)}.")
    return tuple(wanted) or tuple(demos.obs_shapes)


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
    """(T,) rewards for learning: as recorded, or success - 1, a cost of 1 a step until the task is done."""
    if reward == "dataset":
        return episode.rewards
    assert episode.success is not None
    return episode.success.astype(np.float32) - 1.0


def chunk_returns(rewards: Array, discount: float, horizon: int) -> tuple[Array, Array]:
    """Discounted sum and length of each chunk.  rewards: (T,).  Returns ((T,) float32, (T,) n in 1..horizon)."""
    steps = len(rewards)
    n = np.minimum(horizon, steps - np.arange(steps))
    padded = np.concatenate([rewards.astype(np.float64), np.zeros(horizon)])
    total = sum(discount**k * padded[k : k + steps] for k in range(horizon))
    return np.asarray(total, np.float32), n


def fit_normalizers(demos: Demonstrations, obs_keys: Sequence[str], action_norm: str) -> tuple[Affine, Affine]:
    """Observation and action scaling from all recorded steps."""
    obs = fit_standard(np.concatenate([concatenate(e.obs, obs_keys) for e in demos.episodes]))
    if action_norm == "none":
        return obs, identity(demos.action_dim)
    return obs, fit_range(np.concatenate([e.actions for e in demos.episodes]))


def make_buffer(
    demos: Demonstrations,
    cfg: DataConfig,
    discount: float,
    obs_keys: Sequence[str],
    obs_norm: Affine,
    action_norm: Affine,
    device: torch.device,
) -> ChunkBuffer:
    """Lay out all episodes for sampling on `device`.  `cfg.reward` must be resolved."""
    columns: dict[str, list[Array]] = {k: [] for k in ("states", "actions", "state", "last", "next")}
    columns |= {k: [] for k in ("reward", "discount", "td_valid")}
    state_row = action_row = 0
    for e in demos.episodes:
        steps = len(e)
        obs = concatenate(e.obs, obs_keys)
        final = obs[-1:] if e.final_obs is None else concatenate({k: v[None] for k, v in e.final_obs.items()}, obs_keys)
        rewards = cfg.reward_scale * episode_rewards(e, cfg.reward) + cfg.reward_shift
        reward, n = chunk_returns(rewards, discount, cfg.horizon)
        at_end = np.arange(steps) + n == steps
        # Success keeps reward 0 for ever, so ending in it is worth 0, like a terminal state.
        done = e.terminated or (cfg.reward == "success" and e.ends_in_success)
        columns["states"].append(obs_norm.apply(np.concatenate([obs, final])))
        columns["actions"].append(action_norm.apply(e.actions))
        columns["state"].append(state_row + np.arange(steps))
        columns["last"].append(np.full(steps, action_row + steps - 1))
        columns["next"].append(state_row + np.arange(steps) + n)
        columns["reward"].append(reward)
        columns["discount"].append(np.where(at_end & done, 0.0, discount**n).astype(np.float32))
        columns["td_valid"].append(np.where(at_end & (not done) & (e.final_obs is None), 0.0, 1.0).astype(np.float32))
        state_row += steps + 1
        action_row += steps
    tensors = {k: torch.as_tensor(np.concatenate(v), device=device) for k, v in columns.items()}
    return ChunkBuffer(**tensors, horizon=cfg.horizon)
