"""Rolling a policy out in simulation, with results that do not depend on how many environments run at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.seeding import episode_rng
from dtql_robot.eval.env_pool import EnvPool
from dtql_robot.eval.metrics import episode_success, first_success
from dtql_robot.eval.result import EpisodeResult
from dtql_robot.types import Array, Obs, Policy


@dataclass
class Running:
    """An episode in progress: what the policy sees next, its noise, and what happened so far."""

    index: int
    seed: int
    obs: dict[str, Array]
    rng: np.random.Generator
    rewards: list[float] = field(default_factory=list)
    successes: list[bool] = field(default_factory=list)

    def finish(self, facts: EnvInfo) -> EpisodeResult:
        return EpisodeResult(
            seed=self.seed,
            success=episode_success(self.successes, facts.success_rule),
            episode_return=float(sum(self.rewards)),
            length=len(self.rewards),
            time_to_success=first_success(self.successes),
        )


def stack_obs(observations: Sequence[Obs]) -> dict[str, Array]:
    """B observations -> one with a leading batch axis."""
    return {key: np.stack([obs[key] for obs in observations]) for key in observations[0]}


def choose(policy: Policy, observations: Sequence[Obs], rngs: Sequence[np.random.Generator]) -> Array:
    """The policy's chunks (B, n_action_steps, A) for B robots, checked."""
    chunks = np.asarray(policy.predict(stack_obs(observations), rngs), np.float32)
    expected = (len(observations), policy.n_action_steps, policy.action_dim)
    if chunks.shape != expected:
        raise ValueError(f"policy.predict returned shape {chunks.shape}, expected (B, n_action_steps, A) = {expected}")
    if not np.isfinite(chunks).all():
        raise ValueError("policy.predict returned NaN or infinite actions; the policy's weights have probably diverged")
    return chunks


def run_episodes(
    policy: Policy,
    pool: EnvPool,
    num_envs: int,
    seeds: Sequence[int],
    facts: EnvInfo,
    report: Callable[[EpisodeResult], None] = lambda _: None,
) -> list[EpisodeResult]:
    """One result per seed, in the order of `seeds`.

    Environment e plays episodes e, e + num_envs, ...  Each round asks the policy once, for all robots together, and
    executes the chunks it chose; an episode's end cuts its chunk short.
    """
    results: dict[int, EpisodeResult] = {}

    def start(envs: Sequence[int], indices: Sequence[int]) -> dict[int, Running]:
        first = pool.reset(envs, [seeds[i] for i in indices])
        return {
            env: Running(i, seeds[i], obs, episode_rng(seeds[i]))
            for env, i, obs in zip(envs, indices, first, strict=True)
        }

    running = start(range(num_envs), range(num_envs))
    while running:
        envs = sorted(running)
        chunks = choose(policy, [running[e].obs for e in envs], [running[e].rng for e in envs])
        ended = []
        for env, outcome in zip(envs, pool.run_chunks(envs, list(chunks)), strict=True):
            episode = running[env]
            episode.obs = outcome.obs
            episode.rewards += outcome.rewards
            episode.successes += outcome.successes
            if outcome.done:
                results[episode.index] = episode.finish(facts)
                report(results[episode.index])
                ended.append(env)
        following = [(env, running.pop(env).index + num_envs) for env in ended]
        following = [(env, index) for env, index in following if index < len(seeds)]
        if following:
            running.update(start(*zip(*following, strict=True)))
    return [results[i] for i in range(len(seeds))]
