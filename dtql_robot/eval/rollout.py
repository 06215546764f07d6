"""Rolling a policy out in simulation, with results that do not depend on how many environments run at once."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.seeding import episode_rng
from dtql_robot.eval.intervals import episode_success, first_success
from dtql_robot.eval.pools.actor import action_plan, choose
from dtql_robot.eval.pools.chunked_env import ChunkResult, Lost
from dtql_robot.eval.pools.env_pool import EnvPool
from dtql_robot.eval.result import EpisodeResult, Restart
from dtql_robot.policy.action_plan import ActionPlan
from dtql_robot.system.workers import WorkerError
from dtql_robot.types import Obs, Policy

MAX_RERUNS = 2  # of one episode: a simulator that dies a third time on the same one dies of it


@dataclass
class Running:
    """An episode in progress: its noise, what is planned, and what happened so far."""

    index: int
    seed: int
    rng: np.random.Generator
    plan: ActionPlan
    rewards: list[float] = field(default_factory=list)
    successes: list[bool] = field(default_factory=list)

    def add(self, outcome: ChunkResult) -> None:
        """Count what a chunk of actions brought."""
        self.rewards += outcome.rewards
        self.successes += outcome.successes

    def finish(self, facts: EnvInfo, last: ChunkResult) -> EpisodeResult:
        """The episode's result, after its last chunk."""
        return EpisodeResult(
            seed=self.seed,
            success=episode_success(self.successes, facts.success_rule),
            episode_return=float(sum(self.rewards)),
            length=len(self.rewards),
            time_to_success=first_success(self.successes),
            subtasks=dict(last.subtasks),
        )


class Rollout:
    """The episodes of one evaluation on their way through the environments of a pool.

    Environments take the next episode as they become free.  An episode's outcome depends on its seed alone, so
    neither this order nor which robots share a call of the policy matters.
    """

    def __init__(self, policy: Policy, pool: EnvPool, seeds: Sequence[int], facts: EnvInfo) -> None:
        self.policy, self.pool, self.seeds, self.facts = policy, pool, seeds, facts
        self.results: dict[int, EpisodeResult] = {}
        self.restarts: list[Restart] = []
        self._running: dict[int, Running] = {}
        self._waiting = deque(range(len(seeds)))
        self._idle: set[int] = set()

    def run(self, num_envs: int, report: Callable[[EpisodeResult], None]) -> list[EpisodeResult]:
        """Run all episodes, `num_envs` at a time, and report each as it ends.  Returned in the order of seeds."""
        self._idle = set(range(num_envs))
        self._begin_waiting()
        while self._running:
            deciding: list[tuple[int, Obs]] = []
            for env, reply in self.pool.wait():
                if isinstance(reply, Lost):
                    self._begin_again(env, reply)
                elif not isinstance(reply, ChunkResult):
                    deciding.append((env, reply))
                elif self._continues(env, reply, report):
                    deciding.append((env, reply.obs))
            self._begin_waiting()
            if self.pool.acts:
                for env, _ in deciding:
                    self.pool.advance(env)
            elif deciding:
                self._decide(deciding)
        return [self.results[i] for i in range(len(self.seeds))]

    def _decide(self, deciding: Sequence[tuple[int, Obs]]) -> None:
        """Ask the policy for all robots that await a decision together."""
        rngs = [self._running[env].rng for env, _ in deciding]
        chunks = choose(self.policy, [obs for _, obs in deciding], rngs)
        for (env, _), chunk in zip(deciding, chunks, strict=True):
            self.pool.run_chunk(env, self._running[env].plan.next(chunk))

    def _begin(self, env: int, index: int) -> None:
        seed = self.seeds[index]
        self._running[env] = Running(index, seed, episode_rng(seed), action_plan(self.policy))
        self.pool.reset(env, seed)

    def _begin_waiting(self) -> None:
        """Put waiting episodes into idle environments, where the least is left to simulate first.

        The environments of one process end their episodes together; when few are waiting, it must not take them all.
        """
        if not (self._waiting and self._idle):
            return
        left = {self.pool.process(env): 0.0 for env in (*self._idle, *self._running)}  # process -> episodes
        for env, episode in self._running.items():
            left[self.pool.process(env)] += 1 - len(episode.rewards) / (self.facts.horizon or math.inf)
        while self._waiting and self._idle:
            env = min(self._idle, key=lambda env: (left[self.pool.process(env)], env))
            share = (sum(left.values()) + len(self._waiting)) / len(left)
            if left[self.pool.process(env)] > 0 and left[self.pool.process(env)] + 0.5 > share:
                return  # another process will be free sooner
            left[self.pool.process(env)] += 1
            self._idle.remove(env)
            self._begin(env, self._waiting.popleft())

    def _begin_again(self, env: int, lost: Lost) -> None:
        """The episode of a lost process from its start, in the process that replaced it."""
        episode = self._running[env]
        self.restarts.append(Restart(episode.seed, len(episode.rewards), lost.reason))
        if sum(restart.seed == episode.seed for restart in self.restarts) > MAX_RERUNS:
            raise WorkerError(f"The episode with seed {episode.seed} was lost {MAX_RERUNS + 1} times. {lost.reason}")
        self._begin(env, episode.index)

    def _continues(self, env: int, outcome: ChunkResult, report: Callable[[EpisodeResult], None]) -> bool:
        """Take a chunk's outcome down; False where it ended the episode."""
        episode = self._running[env]
        episode.add(outcome)
        if not outcome.done:
            return True
        del self._running[env]
        self.results[episode.index] = episode.finish(self.facts, outcome)
        report(self.results[episode.index])
        self._idle.add(env)
        return False


def run_episodes(
    policy: Policy,
    pool: EnvPool,
    num_envs: int,
    seeds: Sequence[int],
    facts: EnvInfo,
    report: Callable[[EpisodeResult], None] = lambda _: None,
) -> tuple[list[EpisodeResult], list[Restart]]:
    """(one result per seed, in the order of `seeds`; the episodes that were run again and why).

    The policy is asked for all robots that await a decision together; an episode's end cuts its chunk short.
    """
    rollout = Rollout(policy, pool, seeds, facts)
    return rollout.run(num_envs, report), rollout.restarts
