"""Asking a policy for actions, and one environment in which a policy acts by itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from dtql_robot.envs.seeding import episode_rng
from dtql_robot.eval.env_server import ChunkResult, EnvServer
from dtql_robot.plan import ActionPlan
from dtql_robot.types import Array, Obs, Policy

TURN = 0.25  # seconds that an environment is run before others have their turn


def stack_obs(observations: Sequence[Obs]) -> dict[str, Array]:
    """B observations -> one with a leading batch axis."""
    return {key: np.stack([obs[key] for obs in observations]) for key in observations[0]}


def choose(policy: Policy, observations: Sequence[Obs], rngs: Sequence[np.random.Generator]) -> Array:
    """The policy's chunks (B, H, A) for B robots, checked."""
    chunks = np.asarray(policy.predict(stack_obs(observations), rngs), np.float32)
    count, steps, size = len(observations), policy.n_action_steps, policy.action_dim
    if chunks.ndim != 3 or (len(chunks), chunks.shape[2]) != (count, size) or chunks.shape[1] < steps:
        raise ValueError(f"policy.predict returned shape {chunks.shape}, expected ({count}, {steps} or more, {size})")
    if not np.isfinite(chunks).all():
        raise ValueError("policy.predict returned NaN or infinite actions; the policy's weights have probably diverged")
    return chunks


def action_plan(policy: Policy) -> ActionPlan:
    """How the policy wants its chunks executed."""
    return ActionPlan(policy.n_action_steps, getattr(policy, "chunk_weights", None))


class Actor:
    """One environment with a policy beside it: nothing has to be sent for a decision."""

    def __init__(self, server: EnvServer, policy: Policy) -> None:
        self._server, self._policy = server, policy

    def reset(self, seed: int) -> dict[str, Array]:
        """Begin the episode of this seed."""
        self._obs: Obs = self._server.reset(seed)
        self._rng, self._plan = episode_rng(seed), action_plan(self._policy)
        return dict(self._obs)

    def advance(self) -> ChunkResult:
        """Go on with the episode for TURN seconds or to its end: all that was executed in that time."""
        rewards: list[float] = []
        successes: list[bool] = []
        end = time.monotonic() + TURN
        while True:
            chunk = self._plan.next(choose(self._policy, [self._obs], [self._rng])[0])
            last = self._server.run_chunk(chunk)
            rewards += last.rewards
            successes += last.successes
            self._obs = last.obs
            if last.done or time.monotonic() > end:
                return last._replace(rewards=rewards, successes=successes)
