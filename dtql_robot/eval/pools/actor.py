"""Asking a policy for actions, and environments in which a policy acts by itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from dtql_robot.client.action_plan import ActionPlan
from dtql_robot.envs.seeding import episode_rng
from dtql_robot.errors import InputError
from dtql_robot.eval.pools.chunked_env import ChunkResult, EnvServer, Lost
from dtql_robot.types import Array, Obs, Policy, chunk_weights_of

TURN = 0.25  # seconds that an environment is run before others have their turn


def stack_obs(observations: Sequence[Obs]) -> dict[str, Array]:
    """B observations -> one with a leading batch axis."""
    return {key: np.stack([obs[key] for obs in observations]) for key in observations[0]}


def choose(policy: Policy, observations: Sequence[Obs], rngs: Sequence[np.random.Generator]) -> Sequence[Array | Lost]:
    """The policy's chunk (H, A) for each of B robots, checked; `Lost` for one that was shown NaN or infinity.

    InputError where the policy itself has diverged.
    """
    try:
        chunks = np.asarray(policy.predict(stack_obs(observations), rngs), np.float32)
    except Exception:
        if all(bad_key(obs) is None for obs in observations):
            raise
        return _choose_apart(policy, observations, rngs)
    count, steps, size = len(observations), policy.n_action_steps, policy.action_dim
    if chunks.ndim != 3 or (len(chunks), chunks.shape[2]) != (count, size) or chunks.shape[1] < steps:
        raise InputError(f"policy.predict returned shape {chunks.shape}, expected ({count}, {steps} or more, {size})")
    if not np.isfinite(chunks).all():
        return [_judged(chunk, obs) for chunk, obs in zip(chunks, observations, strict=True)]
    return chunks  # type: ignore[return-value]  # an array is the sequence of its rows


def bad_key(obs: Obs) -> str | None:
    """The first observation that holds NaN or infinity."""
    return next((key for key, value in obs.items() if not np.isfinite(value).all()), None)


def _lost_to(key: str) -> Lost:
    return Lost(f"The environment's observation {key!r} holds NaN or infinite numbers.")


def _judged(chunk: Array, obs: Obs) -> Array | Lost:
    """Whose fault it is where a chunk is not finite."""
    if np.isfinite(chunk).all():
        return chunk
    key = bad_key(obs)
    if key is not None:
        return _lost_to(key)
    raise InputError("The policy returned NaN or infinite actions: its weights have probably diverged; train again.")


def _choose_apart(
    policy: Policy, observations: Sequence[Obs], rngs: Sequence[np.random.Generator]
) -> list[Array | Lost]:
    """`choose` where the policy refuses some of the observations: it is asked for the others alone."""
    keys = [bad_key(obs) for obs in observations]
    good = [i for i, key in enumerate(keys) if key is None]
    chosen = (
        dict(zip(good, choose(policy, [observations[i] for i in good], [rngs[i] for i in good]), strict=True))
        if good
        else {}
    )
    return [chosen[i] if key is None else _lost_to(key) for i, key in enumerate(keys)]


class ActedEpisode:
    """One episode that a policy acts in: its noise, what is planned, and what has come of it so far."""

    def __init__(self, policy: Policy, seed: int) -> None:
        self.seed, self.rng = seed, episode_rng(seed)
        self.plan = ActionPlan(policy.n_action_steps, chunk_weights_of(policy))
        self.rewards: list[float] = []
        self.successes: list[bool | None] = []
        self.starts: dict[str, list[float]] = {}

    def add(self, outcome: ChunkResult) -> None:
        """Count what a chunk of actions brought."""
        self.rewards += outcome.rewards
        self.successes += outcome.successes


class Actor:
    """One environment and the episode that a policy acts in there."""

    def __init__(self, server: EnvServer, policy: Policy) -> None:
        self._server, self._policy = server, policy

    def reset(self, seed: int) -> dict[str, Array] | Lost:
        """Begin the episode of this seed."""
        obs = self._server.reset(seed)
        self.episode, self._told = ActedEpisode(self._policy, seed), 0
        self.last: ChunkResult | Lost = obs if isinstance(obs, Lost) else ChunkResult(obs, [], [], False, {}, {})
        return obs

    def execute(self, chunk: Array | Lost) -> None:
        """What the policy decided; `last` is then the outcome."""
        self.last = chunk if isinstance(chunk, Lost) else self._server.run_chunk(self.episode.plan.next(chunk))
        if not isinstance(self.last, Lost):
            self.episode.add(self.last)

    @property
    def obs(self) -> Obs | None:
        """What the policy is to decide on; None where the episode has ended."""
        return None if isinstance(self.last, Lost) or self.last.done else self.last.obs

    def taken(self) -> ChunkResult | Lost:
        """What came of all that was executed since this was asked last."""
        if isinstance(self.last, Lost):
            return self.last
        told, self._told = self._told, len(self.episode.rewards)
        return self.last._replace(rewards=self.episode.rewards[told:], successes=self.episode.successes[told:])


def advance(policy: Policy, actors: Sequence[Actor]) -> list[ChunkResult | Lost]:
    """Go on with several episodes side by side, for TURN seconds or until all end.  What came of each of them.

    Nothing has to be sent for a decision, and the policy decides for all at once: its weights are then in the
    processor's cache, and the simulator's data leave it less often.
    """
    end = time.monotonic() + TURN
    while under_way := [(actor, obs) for actor in actors if (obs := actor.obs) is not None]:
        chunks = choose(policy, [obs for _, obs in under_way], [actor.episode.rng for actor, _ in under_way])
        for (actor, _), chunk in zip(under_way, chunks, strict=True):
            actor.execute(chunk)
        if time.monotonic() > end:
            break
    return [actor.taken() for actor in actors]
