"""Rolling a policy out in simulation, with results that do not depend on how many environments run at once."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.measure import starts
from dtql_robot.errors import InputError
from dtql_robot.eval.episode_result import EpisodeResult, Restart
from dtql_robot.eval.intervals import ends_in_success, episode_success, first_success
from dtql_robot.eval.pools.actor import ActedEpisode, choose
from dtql_robot.eval.pools.chunked_env import ChunkResult, Lost
from dtql_robot.eval.pools.env_pool import EnvPool
from dtql_robot.types import Obs, Policy

Report = Callable[[EpisodeResult], None]
"""Told of every episode that has ended."""

MAX_RERUNS = 2  # of one episode: what fails a third time counts as failed
HOPELESS = 3  # episodes that failed in this way before any was played to its end


def _finished(episode: ActedEpisode, facts: EnvInfo, last: ChunkResult) -> EpisodeResult:
    return EpisodeResult(
        seed=episode.seed,
        success=episode_success(episode.successes, facts.success_rule),
        episode_return=float(sum(episode.rewards)),
        length=len(episode.rewards),
        time_to_success=first_success(episode.successes),
        ends_in_success=ends_in_success(episode.successes, facts.success_rule),
        subtasks=dict(last.subtasks),
        stages=dict(last.stages),
        starts=episode.starts,
        measure=None if facts.measure is None else facts.measure.read(last.obs),
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
        self._running: dict[int, ActedEpisode] = {}
        self._index: dict[int, int] = {}  # of the episode in an environment
        self._reruns = Counter[int]()
        self._waiting = deque(range(len(seeds)))
        self._idle: set[int] = set()

    def run(self, num_envs: int, report: Report) -> list[EpisodeResult]:
        """Run all episodes, `num_envs` at a time, and report each as it ends.  Returned in the order of seeds."""
        self._idle = set(range(num_envs))
        self._begin_waiting()
        while self._running:
            deciding: list[tuple[int, Obs]] = []
            for env, reply in self.pool.wait():
                if isinstance(reply, Lost):
                    self._begin_again(env, reply, report)
                elif not isinstance(reply, ChunkResult):
                    self._running[env].starts = starts(self.facts.places, reply)
                    deciding.append((env, reply))
                elif self._continues(env, reply, report):
                    deciding.append((env, reply.obs))
            self._begin_waiting()
            if self.pool.acts:
                for env, _ in deciding:
                    self.pool.advance(env)
            elif deciding:
                self._decide(deciding, report)
                self._begin_waiting()  # a decision may have ended an episode
        return labelled([self.results[i] for i in range(len(self.seeds))], self.facts.spec)

    def _decide(self, deciding: Sequence[tuple[int, Obs]], report: Report) -> None:
        """Ask the policy for all robots that await a decision together."""
        rngs = [self._running[env].rng for env, _ in deciding]
        chunks = choose(self.policy, [obs for _, obs in deciding], rngs)
        for (env, _), chunk in zip(deciding, chunks, strict=True):
            if isinstance(chunk, Lost):
                self._begin_again(env, chunk, report)
            else:
                self.pool.run_chunk(env, self._running[env].plan.next(chunk))

    def _begin(self, env: int, index: int) -> None:
        seed = self.seeds[index]
        self._running[env], self._index[env] = ActedEpisode(self.policy, seed), index
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

    def _begin_again(self, env: int, lost: Lost, report: Report) -> None:
        """An episode that cannot go on, from its start; what fails again and again is a failed episode."""
        episode, index = self._running[env], self._index[env]
        if self._reruns[index] < MAX_RERUNS:
            self._reruns[index] += 1
            self.restarts.append(Restart(episode.seed, len(episode.rewards), lost.reason))
            self._begin(env, index)
            return
        self._end(env, EpisodeResult(episode.seed, False, 0.0, 0, None, error=lost.reason), report)
        failed = len(self.results)
        if all(result.error for result in self.results.values()) and failed in (HOPELESS, len(self.seeds)):
            raise InputError(
                f"{self.facts.spec} cannot be evaluated: {failed} of {failed} episodes cannot be played "
                f"to their end. {lost.reason}"
            )

    def _end(self, env: int, result: EpisodeResult, report: Report) -> None:
        del self._running[env]
        self.results[self._index[env]] = result
        self._idle.add(env)
        report(result)

    def _continues(self, env: int, outcome: ChunkResult, report: Report) -> bool:
        """Take a chunk's outcome down; False where it ended the episode."""
        episode = self._running[env]
        episode.add(outcome)
        if not outcome.done:
            return True
        self._end(env, _finished(episode, self.facts, outcome), report)
        return False


def labelled(results: list[EpisodeResult], spec: str) -> list[EpisodeResult]:
    """An episode that failed is no failure of the policy where no episode reports success."""
    told = {result.success is not None for result in results if not result.error}
    if told == {True, False}:
        raise InputError(
            f"{spec} reports success in some episodes only; wrap the environment so that it does in each or in none."
        )
    return [replace(result, success=None) for result in results] if told == {False} else results


def run_episodes(
    policy: Policy,
    pool: EnvPool,
    num_envs: int,
    seeds: Sequence[int],
    facts: EnvInfo,
    report: Report = lambda _: None,
) -> tuple[list[EpisodeResult], list[Restart]]:
    """(one result per seed, in the order of `seeds`; the episodes that were run again and why).

    The policy is asked for all robots that await a decision together; an episode's end cuts its chunk short.
    """
    rollout = Rollout(policy, pool, seeds, facts)
    return rollout.run(num_envs, report), rollout.restarts
