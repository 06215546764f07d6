"""Recordings of a plan: by scripted experts, of mixed quality on purpose, or by whatever else the plan names."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from dtql_robot.envs.collection.collector import Collector
from dtql_robot.envs.collection.oracle_plan import OraclePlan
from dtql_robot.envs.collection.parts import read_part, write_part
from dtql_robot.envs.collection.plan import EPISODES, NOISE_ATTRS, PLAN_ATTR, CollectionPlan, Plan, Record
from dtql_robot.envs.make import env_info
from dtql_robot.envs.rendering.gl import prepare_gl
from dtql_robot.envs.seeding import EPISODES_PER_SEED, collection_seed
from dtql_robot.errors import InputError, require_list, require_whole
from dtql_robot.system.cluster import Cluster, Finished
from dtql_robot.system.cores import usable_cores
from dtql_robot.system.progress import progress_bar
from dtql_robot.system.task_pool import Failed, TaskPool
from dtql_robot.system.workers import Worker, WorkerError
from dtql_robot.types import Demonstrations, Episode

HOPELESS = 50  # with fewer successes than one in so many episodes, waiting for more is no use
TIMEOUT = 300.0
"""Seconds in which a worker must have recorded an episode."""
TOO_MANY = 5  # episodes that cannot be recorded, with no more that can, before the collection stops

__all__ = ["NOISE_ATTRS", "Collector", "OraclePlan", "Plan", "Recording", "collect"]


def collect(
    task: str,
    episodes: int | None = None,
    seed: int = 0,
    *,
    noise: float = 0.3,
    record: Record = "executed",
    lapses: float = 0.0,
    successes_only: bool = False,
    workers: int | None = None,
    progress: bool = True,
    cameras: Sequence[str] = (),
    size: int = 84,
    transitions: int | None = None,
) -> Demonstrations:
    """Record `episodes` episodes (None: 200) of the scripted expert of `task`.

    noise: standard deviation of the Gaussian noise on every action entry (actions are in [-1, 1]).  Each episode draws
    its own amplitude uniformly from [0, noise], so that the data mixes clean and clumsy demonstrations; it is recorded
    in `attrs["noise"]`, next to the environment's `attrs["seed"]`.
    record: the action to record.  executed: with the noise.  intended: the expert's own, before the noise
    disturbed it (DART, Laskey et al. 2017, arXiv 1703.09327); the amplitude is then
    `attrs["disturbance"]`, and replaying the recorded actions does not lead through the recorded states.
    lapses: share of the episodes in which the demonstrator fails on purpose (`collection.lapses`); `attrs["lapse"]`
    records how.
    successes_only: leave out the episodes that fail, and record more until there are `episodes` that succeed.
    cameras: names of cameras; each gives an observation "<camera>_image", (size, size, 3) uint8.
    transitions: instead of `episodes`, record whole episodes until they have so many steps together.
    Other observations are float32; actions are float32, after clipping to [-1, 1].
    The same (task, episodes, seed, noise, record, lapses) give the same data whatever the number of workers (default:
    one per core) and whatever happens to them.  To keep what has been recorded when this is interrupted, use
    `Recording`.  InputError for a task without an expert, and for values that an argument cannot have.
    """
    if transitions is not None and episodes is not None:
        raise InputError("transitions and episodes both say how much to record; pass only one of them.")
    cameras = (cameras,) if isinstance(cameras, str) else require_list("cameras", cameras, str, "names")
    most = EPISODES if episodes is None else episodes
    most = most if transitions is None else EPISODES_PER_SEED
    plan = Plan(task, most, seed, noise, record, lapses, successes_only, cameras, size, transitions)
    recording = Recording(plan)
    recording.run(workers=workers, progress=progress)
    return recording.demonstrations()


class Recording:
    """The episodes of a plan as they come: when `run` is interrupted or fails, those so far are still here.

    episodes  recorded so far, in order
    missing   number of an episode that cannot be recorded -> why
    """

    def __init__(self, plan: CollectionPlan, recorded: Sequence[Episode] = ()) -> None:
        """recorded: the first episodes of the plan, from a collection to be continued.

        InputError where they are more than the plan wants: a continuation drops nothing that has been recorded.
        """
        prepare_gl()
        self.plan, self._env_args = plan, plan.env_args()
        self.episodes: list[Episode] = []
        self._steps = 0
        for episode in recorded:
            if self.complete:
                raise InputError(_more_than(plan, recorded))
            self._add(episode)
        self.missing: dict[int, str] = {}
        self._rule = env_info(plan.task, env_args=self._env_args).success_rule if plan.successes_only else None

    def run(
        self,
        *,
        workers: int | None = None,
        progress: bool = True,
        timeout: float = TIMEOUT,
        cluster: Cluster | None = None,
        finished: Finished | None = None,
    ) -> None:
        """Record what is missing from the plan.

        cluster: record there, with as many simulators as it has room for, and keep each episode in `finished`.

        workers: simulators at once, None: one per core; a single one runs in this process.  timeout: seconds for an
        episode, after which its worker counts as hung.  A worker that dies or hangs is replaced and its episode
        recorded again; one that fails TRIES times is left out and listed in `missing`.
        """
        if workers is not None:
            require_whole("workers", workers, 1)
        plan, first = self.plan, self._next()
        if self.complete:
            return
        count = max(1, min(workers or usable_cores(), plan.episodes - len(self.episodes)))
        done, wanted, unit = self.progress
        bar = progress_bar(f"collect {plan.task}", total=wanted, unit=unit, enabled=progress, initial=done)
        numbers = range(first, plan.attempts)
        won = sum(e.ends_in_success for e in self.episodes)
        attempts = _attempts(plan, numbers, count, timeout)
        if cluster is not None:
            attempts = _attempts_on(cluster, finished, plan, numbers, timeout)
        with attempts as results, bar:
            for tried, (number, episode) in enumerate(zip(numbers, results, strict=False), start=1):
                if isinstance(episode, Failed):
                    self._miss(number, episode.reason)
                elif self._counts(episode, tried):
                    self._add(episode)
                    won += episode.ends_in_success
                    if episode.success is not None:
                        bar.set_postfix_str(f"success {won}/{len(self.episodes)}", refresh=False)
                    bar.update(self.progress[0] - bar.n)
                if self.complete:
                    return

    def _add(self, episode: Episode) -> None:
        self.episodes.append(replace(episode, name=f"demo_{len(self.episodes)}"))
        self._steps += len(episode)

    @property
    def progress(self) -> tuple[int, int, str]:
        """(what has been recorded, what is wanted, of what): transitions where the plan counts those, else episodes."""
        if self.plan.transitions is not None:
            return min(self._steps, self.plan.transitions), self.plan.transitions, "steps"
        return len(self.episodes), self.plan.episodes, "ep"

    @property
    def complete(self) -> bool:
        """Whether everything that the plan wants has been recorded."""
        done, wanted, _ = self.progress
        return done >= wanted or len(self.episodes) >= self.plan.episodes

    def _next(self) -> int:
        """Number of the first episode that has not been tried."""
        if not self.episodes:
            return 0
        return int(self.episodes[-1].attrs["seed"]) - collection_seed(self.plan.seed, 0) + 1

    def _miss(self, number: int, reason: str) -> None:
        """Note an episode that cannot be recorded.  WorkerError where more cannot than can."""
        self.missing[number] = reason
        if len(self.missing) >= TOO_MANY and len(self.missing) > len(self.episodes):
            raise WorkerError(
                f"{len(self.missing)} episodes of {self.plan.task} could not be recorded; the last: {reason}"
            )

    def _counts(self, episode: Episode, tried: int) -> bool:
        """Whether the plan wants this episode.  InputError where hardly any succeeds, and successes are wanted."""
        if self._rule is None:
            return True
        if episode.success is None:
            raise InputError(f"{self.plan.task} reports no success; leave out --successes-only.")
        if bool(episode.ends_in_success if self._rule == "last" else np.any(episode.success)):
            return True
        found = len(self.episodes)
        if found * HOPELESS < tried - HOPELESS:
            raise InputError(
                f"{self.plan.task}: only {found} of {tried} episodes succeed, too few to record successes only."
            )
        return False

    def demonstrations(self) -> Demonstrations:
        """What has been recorded so far."""
        plan: dict[str, Any] = self.plan.to_dict()
        if self.missing:
            plan["missing"] = {str(number): reason for number, reason in self.missing.items()}
        return Demonstrations(
            tuple(self.episodes),
            self.plan.source,
            self.plan.format,
            env_spec=self.plan.task,
            env_args=self._env_args,
            attrs={PLAN_ATTR: plan},
        )


def _more_than(plan: CollectionPlan, recorded: Sequence[Episode]) -> str:
    """The sentence about a collection that is to be continued, and has more than the plan wants."""
    asked = f"--episodes {plan.episodes}" if plan.transitions is None else f"--transitions {plan.transitions}"
    return (
        f"{len(recorded)} episodes with {sum(map(len, recorded))} steps are recorded already, more than {asked} needs; "
        "ask for as many or more, choose some with `dtql-robot edit --keep`, or start anew with --overwrite."
    )


class _Recorder(Protocol):
    """What a plan names as its collector."""

    def episode(self, index: int) -> Episode:
        """Episode `index`, a function of the plan and `index` alone."""

    def close(self) -> None:
        """Close the environment."""


def _collector(plan: CollectionPlan) -> _Recorder:
    module, _, name = plan.collector.partition(":")
    return getattr(importlib.import_module(module), name)(plan)


def _alone(plan: CollectionPlan, numbers: range) -> Generator[Episode | Failed, None, None]:
    """These episodes in order, recorded in this process."""
    with contextlib.ExitStack() as stack:
        collector = stack.enter_context(contextlib.closing(_collector(plan)))
        for number in numbers:
            try:
                episode: Episode | Failed = collector.episode(number)
            except InputError:
                raise
            except Exception as error:  # a simulator may raise anything; the next episode gets a new one
                episode = Failed(number, f"{type(error).__name__}: {error}.")
                collector = stack.enter_context(contextlib.closing(_collector(plan)))
            yield episode


def _tell(sentence: str) -> None:
    print(f"collect: {sentence}", file=sys.stderr)


@contextlib.contextmanager
def _attempts_on(
    cluster: Cluster, finished: Finished | None, plan: CollectionPlan, numbers: range, timeout: float
) -> Iterator[Iterator[Episode | Failed]]:
    """These episodes in order, recorded on a cluster; those of an earlier start are read."""
    known = {path.name for path in finished.folder.glob("*.npz")} if finished is not None else set()

    def results() -> Iterator[Episode | Failed]:
        made = pool.map("episode", (number for number in numbers if f"{number}.npz" not in known))
        for number in numbers:
            if finished is not None and f"{number}.npz" in known:
                yield read_part(finished.path(f"{number}.npz"))
                continue
            episode = next(made)
            if finished is not None and not isinstance(episode, Failed):
                write_part(finished.path(f"{number}.npz"), episode)
            yield episode

    with contextlib.closing(cluster.pool(plan.collector, (plan,), timeout=timeout, report=_tell)) as pool:
        yield results()


@contextlib.contextmanager
def _attempts(
    plan: CollectionPlan, numbers: range, workers: int, timeout: float
) -> Iterator[Iterator[Episode | Failed]]:
    """These episodes in order, recorded by that many workers; one is this process."""
    with contextlib.ExitStack() as stack:
        if workers == 1:
            yield stack.enter_context(contextlib.closing(_alone(plan, numbers)))
        else:
            pool = TaskPool(
                lambda: Worker(plan.collector, plan),
                workers,
                timeout=timeout,
                report=_tell,
            )
            yield stack.enter_context(contextlib.closing(pool)).map("episode", numbers)
