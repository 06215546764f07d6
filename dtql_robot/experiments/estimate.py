"""How long a suite will take, from a few updates of each method and one episode of each task."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dtql_robot.config import Config
from dtql_robot.errors import InputError

WARM_UP, TIMED = 5, 20
"""Updates that are not timed, and that are."""
STARTING = 8.0
"""Seconds in which a training's and an evaluation's process start and read their data."""


@dataclass(frozen=True)
class Work:
    """A job as its time depends on it.  settings: of its training.  env: where it is evaluated."""

    task: str
    method: str
    data: Path
    settings: Config
    env: str | None

    @property
    def watched(self) -> int:
        """Episodes played while it is trained."""
        watch, updates = self.settings.watch, self.settings.updates
        return 0 if watch.eval_every is None else math.ceil(updates / watch.eval_every) * watch.eval_episodes


def estimate(works: Sequence[Work], episodes: int, at_once: int, threads: int) -> float:
    """Seconds that the jobs take on this machine, as busy as it is now.

    episodes: of each evaluation.  at_once: jobs at a time, each with this many threads.  The updates are timed on one
    task's data for all, without torch.compile, and the episodes without an early end: it is an upper bound that tells
    minutes from hours.  A job that its own settings stop takes no time; its run says why.
    """
    methods = {work.method: work for work in reversed(works)}
    tasks = {work.task: work for work in works}
    update, episode = dict.fromkeys(methods, 0.0), dict.fromkeys(tasks, 0.0)
    for method, work in methods.items():
        with suppress(InputError):
            update[method] = _update_seconds(work, threads)
    for task, work in tasks.items():
        with suppress(InputError):
            episode[task] = _episode_seconds(work)
    each = [STARTING + w.settings.updates * update[w.method] + (episodes + w.watched) * episode[w.task] for w in works]
    return max(sum(each) / at_once, *each)


def _update_seconds(work: Work, threads: int) -> float:
    from dtql_robot.datasets import load
    from dtql_robot.training.hardware import hardware, resolve_device
    from dtql_robot.training.learner import make_learner
    from dtql_robot.training.prepare import prepare, resolve
    from dtql_robot.training.run import start

    optim = replace(work.settings.optim, compile="off", cuda_graph="off")
    cfg = replace(work.settings, threads=threads, optim=optim)
    with hardware(cfg), ExitStack() as stack:
        device, demos = resolve_device(cfg.device), load(work.data)
        prepared = prepare(demos, resolve(demos, cfg, work.env), device)
        learner = make_learner([run.agent for run in start({0: Path()}, prepared, device, resume=False)])
        stack.callback(learner.close)
        updates = stack.enter_context(closing(learner.updates(prepared.buffer)))  # type: ignore[arg-type]
        for _ in range(WARM_UP):
            next(updates)
        begun = time.perf_counter()
        for _ in range(TIMED):
            losses = next(updates)
        float(next(iter(losses.values())).sum())  # waits for a GPU
        return (time.perf_counter() - begun) / TIMED


def _episode_seconds(work: Work) -> float:
    """Of an episode in which the robot does nothing, so that it does not end early."""
    import numpy as np

    from dtql_robot.datasets import load
    from dtql_robot.env_record import choose_env
    from dtql_robot.eval.evaluation import evaluate

    demos = load(work.data)
    chosen = choose_env(work.env, demos.env_spec, demos.env_args, source=demos.source)
    still = np.zeros(demos.episodes[0].actions.shape[1], np.float32)
    start = time.perf_counter()
    evaluate(
        lambda _: still,
        chosen.require(),
        episodes=1,
        num_envs=1,
        where="in-process",
        env_args=chosen.env_args,
        progress=False,
    )
    return time.perf_counter() - start


def in_words(seconds: float) -> str:
    """ "40 s", "12 min" or "3.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
