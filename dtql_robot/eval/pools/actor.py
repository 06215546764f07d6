"""Asking a policy for actions, and environments in which a policy acts by itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from dtql_robot.envs.seeding import episode_rng
from dtql_robot.eval.pools.chunked_env import ChunkResult, EnvServer
from dtql_robot.policy.action_plan import ActionPlan
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
    """One environment and the episode that a policy acts in there."""

    def __init__(self, server: EnvServer, policy: Policy) -> None:
        self._server, self._policy = server, policy

    def reset(self, seed: int) -> dict[str, Array]:
        """Begin the episode of this seed."""
        obs = self._server.reset(seed)
        self.rng, self._plan = episode_rng(seed), action_plan(self._policy)
        self.last = ChunkResult(obs, [], [], False, {})
        self._rewards: list[float] = []
        self._successes: list[bool] = []
        return obs

    def execute(self, chunk: Array) -> None:
        """What the policy decided; `last` is then the outcome."""
        self.last = self._server.run_chunk(self._plan.next(chunk))
        self._rewards += self.last.rewards
        self._successes += self.last.successes

    def taken(self) -> ChunkResult:
        """What came of all that was executed since this was asked last."""
        result = self.last._replace(rewards=self._rewards, successes=self._successes)
        self._rewards, self._successes = [], []
        return result


def advance(policy: Policy, actors: Sequence[Actor]) -> list[ChunkResult]:
    """Go on with several episodes side by side, for TURN seconds or until all end.  What came of each of them.

    Nothing has to be sent for a decision, and the policy decides for all at once: its weights are then in the
    processor's cache, and the simulator's data leave it less often.
    """
    end = time.monotonic() + TURN
    under_way = list(actors)
    while under_way:
        chunks = choose(policy, [actor.last.obs for actor in under_way], [actor.rng for actor in under_way])
        for actor, chunk in zip(under_way, chunks, strict=True):
            actor.execute(chunk)
        under_way = [actor for actor in under_way if not actor.last.done]
        if time.monotonic() > end:
            break
    return [actor.taken() for actor in actors]
