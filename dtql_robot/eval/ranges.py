"""Episodes of one evaluation on a cluster: ranges of seeds, each played by a process that holds the policy."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dtql_robot.eval.episode_result import EpisodeResult, Restart
from dtql_robot.eval.pools.chunked_env import EnvServer
from dtql_robot.eval.pools.env_pool import MOST_SIDE_BY_SIDE, LocalPool, suitable_envs
from dtql_robot.eval.rollout import Report, labelled, run_episodes
from dtql_robot.eval.subject import Subject
from dtql_robot.system.cluster import Cluster, Finished, Pool
from dtql_robot.system.task_pool import Failed
from dtql_robot.types import Policy

RANGES_EACH = 4
"""Ranges for each task that can be done at once, so that all end at about the same time."""


class RangePlayer:
    """Plays ranges of episodes; lives in a worker process.  args: of each `EnvServer`."""

    def __init__(self, policy: Policy, *args: Any) -> None:
        self._policy, self._args = policy, args
        self._servers = [EnvServer(*args)]
        self._facts = self._servers[0].facts()
        self._seconds = self._servers[0].step_seconds() * policy.n_action_steps

    def play(self, seeds: Sequence[int]) -> tuple[list[EpisodeResult], list[Restart]]:
        """The episodes of these seeds, as many side by side as suit the simulator."""
        count = suitable_envs(len(seeds), self._seconds, 1, acts=True)
        while len(self._servers) < count:
            self._servers.append(EnvServer(*self._args))
        pool = LocalPool(self._servers[:count])
        return run_episodes(self._policy, pool, count, seeds, self._facts)

    def close(self) -> None:
        """End the simulators."""
        for server in self._servers:
            server.close()


class _Episodes:
    """What has been played, each episode once; `report` is told of each."""

    def __init__(self, finished: Finished | None, report: Report) -> None:
        self.results: dict[int, EpisodeResult] = {}
        self.restarts: list[Restart] = []
        self._finished, self._report = finished, report
        for line in finished.lines() if finished is not None else ():
            self._add(EpisodeResult(**line["episode"]), [Restart(**restart) for restart in line["restarts"]])

    def add(self, episodes: Sequence[EpisodeResult], restarts: Sequence[Restart]) -> None:
        """Take episodes down, in the folder too."""
        for episode in episodes:
            again = [restart for restart in restarts if restart.seed == episode.seed]
            self._add(episode, again)
            if self._finished is not None and episode.error is None:
                self._finished.add_line({"episode": asdict(episode), "restarts": [asdict(r) for r in again]})

    def _add(self, episode: EpisodeResult, restarts: list[Restart]) -> None:
        self.results[episode.seed] = episode
        self.restarts += restarts
        self._report(episode)


def run_on_cluster(
    cluster: Cluster,
    finished: Finished | None,
    subject: Subject,
    max_episode_steps: int | None,
    seeds: Sequence[int],
    timeout: float,
    report: Report,
) -> tuple[list[EpisodeResult], list[Restart]]:
    """`run_episodes` on a cluster.  A machine that is lost costs its ranges a second try, and is a `Restart`.

    timeout: seconds for an episode.
    """
    episodes = _Episodes(finished, report)
    missing = [seed for seed in seeds if seed not in episodes.results]
    ranges = in_ranges(missing, cluster.slots)
    if ranges:
        args = (
            subject.portable() or subject.policy,
            subject.spec,
            max_episode_steps,
            subject.env_args,
            subject.image_obs,
        )
        lost: list[str] = []
        factory, longest = "dtql_robot.eval.ranges:RangePlayer", timeout * len(ranges[0])
        with contextlib.closing(cluster.pool(factory, args, timeout=longest, report=lost.append)) as pool:
            _play(pool, ranges, episodes, lost)
    return labelled([episodes.results[seed] for seed in seeds], subject.spec), episodes.restarts


def _play(pool: Pool, ranges: Sequence[Sequence[int]], episodes: _Episodes, lost: list[str]) -> None:
    """Play all ranges; an episode of one that fails every time is tried by itself before it counts as failed."""
    alone: list[list[int]] = []
    for seeds, found in zip(ranges, pool.map("play", ranges), strict=True):
        restarts = [Restart(seeds[0], 0, reason) for reason in lost]
        lost.clear()
        if not isinstance(found, Failed):
            episodes.add(found[0], [*found[1], *restarts])
        elif len(seeds) > 1:
            alone += [[seed] for seed in seeds]
        else:
            episodes.add([EpisodeResult(seeds[0], False, 0.0, 0, None, error=found.reason)], restarts)
    if alone:
        _play(pool, alone, episodes, lost)


def in_ranges(seeds: Sequence[int], slots: int) -> list[list[int]]:
    """Seeds in groups, `RANGES_EACH` for each task that can be done at once, none larger than plays side by side."""
    size = max(1, min(MOST_SIDE_BY_SIDE, math.ceil(len(seeds) / (RANGES_EACH * max(1, slots)))))
    return [list(seeds[i : i + size]) for i in range(0, len(seeds), size)]
