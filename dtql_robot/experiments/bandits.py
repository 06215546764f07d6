"""The paper's 2-D bandits (its figure 2): what trust region and KL regularization do to a policy.

One state, actions in the plane, rewards known.  Data and rewards follow the authors' public toy tasks; actions are
scaled to [-1, 1].  The trust region runs with a Gaussian policy, KL with an implicit one, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dtql_robot.algorithm.agent import DTQL
from dtql_robot.config import Config, CriticConfig, DataConfig, DiffusionConfig, OptimConfig, PolicyConfig
from dtql_robot.policy.normalize import Affine, fit_range
from dtql_robot.types import Array, Batch

SAMPLES = 10_000
WEIGHT = {"trust_region": 1.0, "kl": 10.0}
"""Each regularizer's weight beside Q: for KL the best of 1, 3 and 10 over the far and hard tasks."""


@dataclass(frozen=True)
class Bandit:
    """A data set of actions (N, 2) and their rewards (N,)."""

    name: str
    actions: Array
    rewards: Array


def gaussians(rng: np.random.Generator) -> Array:
    """25 Gaussians of deviation 0.3 on a 5 x 5 grid over [-10, 10]^2.  Returns (N, 2)."""
    axis = np.linspace(-10, 10, 5)
    means = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return means[rng.integers(25, size=SAMPLES)] + 0.3 * rng.standard_normal((SAMPLES, 2))


def swiss_roll(rng: np.random.Generator) -> Array:
    """The two rolled-up coordinates of the Swiss roll, with noise of deviation 0.1.  Returns (N, 2)."""
    t = 1.5 * np.pi * (1 + 2 * rng.random(SAMPLES))
    roll = np.stack([t * np.cos(t), t * np.sin(t)], axis=1)
    return roll + 0.1 * rng.standard_normal((SAMPLES, 2))


def far(actions: Array) -> Array:
    """The farther from the origin the better."""
    return np.linalg.norm(actions, axis=1)


def near(actions: Array) -> Array:
    """The nearer to the origin the better."""
    distance = np.linalg.norm(actions, axis=1)
    return distance.max() - distance


def hard(actions: Array) -> Array:
    """As `far`, and twice as much in the one mode at the upper left."""
    corner = (actions[:, 0] < -7.5) & (actions[:, 1] > 7.5)
    return np.where(corner, 2.0, 1.0) * far(actions)


TASKS: dict[str, tuple[Callable[[np.random.Generator], Array], Callable[[Array], Array]]] = {
    "25 Gaussians, near": (gaussians, near),
    "25 Gaussians, far": (gaussians, far),
    "25 Gaussians, hard": (gaussians, hard),
    "swiss roll, near": (swiss_roll, near),
    "swiss roll, far": (swiss_roll, far),
}


def make_bandit(name: str, seed: int) -> Bandit:
    """One of TASKS."""
    sample, reward = TASKS[name]
    actions = sample(np.random.default_rng(seed))
    return Bandit(name, actions.astype(np.float32), reward(actions).astype(np.float32))


def toy_config(regularizer: str, steps: int, seed: int) -> Config:
    """The recipe of both contestants; they differ in the regularizer and in the policy that goes with it.

    steps: updates in all; in the first third denoiser and critics learn alone.
    """
    kind = {"trust_region": "gaussian", "kl": "implicit"}[regularizer]
    return Config(
        steps=steps - steps // 3,
        seed=seed,
        data=DataConfig(horizon=1, n_action_steps=1),
        # Noise at the scale of one mode (0.3 of 14 units), as in the authors' toy tasks.
        diffusion=DiffusionConfig(denoiser_width=128, sigma_loc=math.log(0.05)),
        policy=PolicyConfig(
            policy=kind,  # type: ignore[arg-type]
            regularizer=regularizer,  # type: ignore[arg-type]
            policy_hidden=(128, 128, 128),
            policy_members=1,
            q_unit="value",
            tr_sigma_min=0.002,
            tr_sigma_max=80.0,
            tr_at="sample",
            nll_weight=0.0,
            trust_region_weight=WEIGHT[regularizer],
            q_weight=1.0,
            normalize_q=True,
            act="sample",
        ),
        critic=CriticConfig(critic_hidden=(128, 128, 128), expectile=0.95),
        optim=OptimConfig(batch_size=256, lr=1e-3, denoiser_lr_scale=1.0, ema_decay=0.99, pretrain_steps=steps // 3),
    )


@dataclass(frozen=True)
class Outcome:
    """What a policy does in a bandit.

    actions      (M, 2) samples of the policy, in the data's units
    in_support   fraction of them as near to a recorded action as recorded actions are to each other
    reward       mean reward of those in the data, those outside earning the worst recorded reward
    """

    task: str
    regularizer: str
    actions: Array
    in_support: float
    reward: float


def nearest(points: Array, data: Array) -> tuple[Array, Array]:
    """Index of and distance to the nearest row of data.  points: (M, 2).  data: (N, 2).  Returns (M,), (M,)."""
    distance = torch.cdist(torch.from_numpy(points), torch.from_numpy(data))
    value, index = distance.min(dim=1)
    return index.numpy(), value.numpy()


def judge(bandit: Bandit, regularizer: str, actions: Array) -> Outcome:
    """Score a policy's samples.  The support's edge is where 99.9% of fresh data would lie."""
    half = len(bandit.actions) // 2
    edge = np.quantile(nearest(bandit.actions[half:], bandit.actions[:half])[1], 0.999)
    index, distance = nearest(actions, bandit.actions)
    inside = distance <= edge
    reward = np.where(inside, bandit.rewards[index], bandit.rewards.min()).mean()
    return Outcome(bandit.name, regularizer, actions, float(inside.mean()), float(reward))


def with_margin(scale: Affine) -> Affine:
    """Data in [-0.8, 0.8]: the actions' bounds, where tanh saturates and learning ends, are outside of it."""
    return Affine(scale.shift, scale.scale / 0.8)


def run_bandit(
    bandit: Bandit, regularizer: str, steps: int, seed: int, tick: Callable[[], object] = lambda: None
) -> Outcome:
    """Train one policy on one bandit and score 1,000 of its samples.  `tick` is called after every update."""
    cfg = toy_config(regularizer, steps, seed)
    scale = with_margin(fit_range(bandit.actions))
    actions = torch.from_numpy(scale.apply(bandit.actions))
    agent = DTQL(cfg, 1, 2, float(actions.std()), torch.device("cpu"))
    rewards = torch.from_numpy(bandit.rewards / bandit.rewards.std())
    size = cfg.optim.batch_size
    obs, ones = torch.zeros(size, 1), torch.ones(size)
    for _ in range(steps):
        index = torch.randint(len(actions), (size,), generator=agent.generator)
        batch = Batch(obs, actions[index][:, None], ones[:, None], rewards[index], 0 * ones, obs, ones)
        agent.update(batch)
        tick()
    with torch.no_grad():
        noise = torch.randn(1000, 1, 2, generator=agent.generator)
        chosen = agent.ema_policy(torch.zeros(1000, 1), noise)[:, 0].numpy()
    return judge(bandit, regularizer, scale.invert(chosen))


POLICY = "#D55E00"
"""Okabe and Ito's vermillion, apart from every colour of cividis for everybody."""
NAMES = {"trust_region": "trust region (DTQL)", "kl": "KL"}


def draw(outcomes: Iterable[Outcome], seed: int, path: str) -> None:
    """One figure like the paper's: a column a task, a row a regularizer, the policy's actions over the data.

    Both rows of a task have the same axes, and every task the same range of colours for its rewards.
    """
    from matplotlib.figure import Figure

    shown = list(outcomes)
    tasks, rows = (list(dict.fromkeys(found)) for found in ([o.task for o in shown], [o.regularizer for o in shown]))
    bandits = {task: make_bandit(task, seed) for task in tasks}
    size = (2.7 * len(tasks) + 0.9, 2.9 * len(rows) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(tasks), squeeze=False)
    for outcome in shown:
        axis = axes[rows.index(outcome.regularizer)][tasks.index(outcome.task)]
        _draw_task(axis, bandits[outcome.task], [o.actions for o in shown if o.task == outcome.task])
        axis.scatter(*outcome.actions.T, c=POLICY, s=6, alpha=0.6, linewidths=0, label="policy")
        axis.set_title(f"{outcome.task}\n{outcome.in_support:.0%} in data, reward {outcome.reward:.1f}", fontsize=9)
    for row, name in enumerate(rows):
        axes[row][0].set_ylabel(NAMES[name], fontsize=10)
    _legend(figure, axes)
    figure.savefig(path, dpi=130)


def _draw_task(axis: Any, bandit: Bandit, actions: Sequence[Array]) -> None:
    """The data by its rewards, in axes that hold what any of the task's policies does."""
    axis.scatter(*bandit.actions[::4].T, c=bandit.rewards[::4], s=3, cmap="cividis", linewidths=0, rasterized=True)
    every = np.concatenate([bandit.actions, *actions])
    low, high = every.min(axis=0), every.max(axis=0)
    middle, half = (low + high) / 2, 0.54 * float((high - low).max())
    axis.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    axis.set(aspect="equal")
    axis.locator_params(nbins=4)
    axis.tick_params(labelsize=6, colors="#555")


def _legend(figure: Any, axes: Any) -> None:
    """What is the policy, and what colours of the data mean."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 5}
    handles = [
        Line2D([], [], color=POLICY, label="actions of the policy", **dot),
        Line2D([], [], color="#7c7b78", label="recorded actions", **dot),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    bar = figure.colorbar(ScalarMappable(cmap="cividis"), ax=axes, shrink=0.6, pad=0.01, ticks=[0, 1])
    bar.ax.set_yticklabels(["lowest", "highest"], fontsize=8)
    bar.set_label("reward of recorded actions", fontsize=8)
