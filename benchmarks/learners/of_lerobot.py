"""LeRobot 0.3.3's diffusion policy and ACT, for time_to_success.py (see common.py).

Their settings are LeRobot's defaults, with the optimizers, schedules and scalings that its policies name themselves and
batches of 64 (diffusion) and 8 (ACT), as its training scripts have them.  "diffusion-small" is the diffusion policy
with a narrower U-net.  Both take low-dimensional observations as state and as "environment state".  Batches are cut
from arrays in memory, which is faster than LeRobot's loader.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import before_torchvision  # noqa: F401
import numpy as np
import torch
from common import Actor, Flat, Trained, main, rate, read
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy

STATE, SCENE, ACTION = "observation.state", "observation.environment_state", "action"
BATCH = {"diffusion": 64, "diffusion-small": 64, "act": 8}


def make(kind: str, obs_dim: int, action_dim: int, stats: dict[str, Any] | None) -> Any:
    """The policy, not trained yet."""
    common: dict[str, Any] = {
        "input_features": {
            STATE: PolicyFeature(FeatureType.STATE, (obs_dim,)),
            SCENE: PolicyFeature(FeatureType.ENV, (obs_dim,)),
        },
        "output_features": {ACTION: PolicyFeature(FeatureType.ACTION, (action_dim,))},
        "device": "cpu",
    }
    if kind == "act":
        return ACTPolicy(ACTConfig(**common), dataset_stats=stats)
    small = {"down_dims": (64, 128, 256)} if kind == "diffusion-small" else {}
    return DiffusionPolicy(DiffusionConfig(**common, **small), dataset_stats=stats)


def statistics(flat: Flat) -> dict[str, dict[str, torch.Tensor]]:
    """What LeRobot scales by.  An entry that never changes has deviation 1, or it would be divided by nothing."""
    found = {}
    for names, rows in {(STATE, SCENE): flat.obs, (ACTION,): flat.action}.items():
        spread = rows.std(axis=0)
        values = {"mean": rows.mean(axis=0), "std": np.where(spread < 1e-6, 1.0, spread)}
        values |= {"min": rows.min(axis=0), "max": rows.max(axis=0)}
        found |= {name: {k: torch.as_tensor(v, dtype=torch.float32) for k, v in values.items()} for name in names}
    return found


class Batches:
    """What LeRobot's loader gives: the steps around a sample, an episode's ends repeated and marked as padding."""

    def __init__(self, flat: Flat, config: Any) -> None:
        self.obs, self.action = torch.as_tensor(flat.obs), torch.as_tensor(flat.action)
        ends = np.flatnonzero(flat.last)
        episode = np.searchsorted(ends, np.arange(len(flat.last)))
        self.first = torch.as_tensor(np.concatenate([[0], ends[:-1] + 1])[episode])
        self.end = torch.as_tensor(ends[episode])
        seen = config.observation_delta_indices
        self.seen = None if seen is None else torch.tensor(seen)
        self.done = torch.tensor(config.action_delta_indices)

    def draw(self, count: int) -> dict[str, torch.Tensor]:
        index = torch.randint(len(self.obs), (count,))
        first, end = self.first[index, None], self.end[index, None]
        steps = index[:, None] + self.done
        rows = index if self.seen is None else torch.clamp(index[:, None] + self.seen, first, end)
        batch = {STATE: self.obs[rows], SCENE: self.obs[rows]}
        return batch | {
            ACTION: self.action[torch.clamp(steps, first, end)],
            "action_is_pad": (steps < first) | (steps > end),
        }


def train(options: argparse.Namespace) -> Trained:
    flat = read(options.data)
    stats = statistics(flat)

    def training() -> Any:
        torch.manual_seed(options.seed)
        policy = make(options.kind, flat.obs.shape[1], flat.action.shape[1], stats)
        return policy.train(), Batches(flat, policy.config)

    policy, batches = training()
    planned = max(1, round(options.seconds * rate(_updating(policy, batches, options.kind, 10**6))))
    policy, batches = training()
    update = _updating(policy, batches, options.kind, planned)
    began = time.perf_counter()
    for _ in range(planned):
        update()
    taken = time.perf_counter() - began
    torch.save(
        {"state": policy.state_dict(), "dims": (flat.obs.shape[1], flat.action.shape[1])}, options.out / "model.pt"
    )
    (options.out / "kind").write_text(options.kind)
    return Trained(taken, planned)


def _updating(policy: Any, batches: Batches, kind: str, planned: int) -> Any:
    """One update, as LeRobot's training script does it; `planned` of them are to come."""
    preset, config = policy.config.get_optimizer_preset(), policy.config
    optimizer = preset.build(policy.get_optim_params())
    scheduled = config.get_scheduler_preset()
    schedule = None if scheduled is None else scheduled.build(optimizer, planned)

    def update() -> None:
        loss, _ = policy.forward(batches.draw(BATCH[kind]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), preset.grad_clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        if schedule is not None:
            schedule.step()

    return update


def load(options: argparse.Namespace) -> Actor:
    found = torch.load(options.out / "model.pt")
    policy = make((options.out / "kind").read_text(), *found["dims"], None)
    policy.load_state_dict(found["state"])
    policy.eval()

    def act(obs: np.ndarray) -> np.ndarray:
        row = torch.from_numpy(obs.copy())[None]
        return policy.select_action({STATE: row, SCENE: row})[0].numpy()

    return Actor(*found["dims"], act, policy.reset)


if __name__ == "__main__":
    main(train, load)
