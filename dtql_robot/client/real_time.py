"""A policy in control of a robot at a fixed rate, whether or not it decides within one period."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .action_plan import Array
from .committed_plan import CommittedPlan

Obs = Mapping[str, Any]
WARM_UP = 5  # decisions by which the delay is measured
SAFETY = 1.5  # of the longest of them: later ones may take longer


@dataclass
class Timing:
    """How a loop kept its time.

    period            seconds between two steps, as asked
    delay             steps between an observation and the first action that it decides
    late_starts       seconds by which each step began after its time: the jitter
    missed_deadlines  steps that were not done when the next was due; what they delayed is not made up for in haste
    decisions         seconds that each decision took
    late_chunks       decisions that took longer than `delay` steps: older chunks went on meanwhile
    starved           steps for which no chunk had an action: the last one was repeated
    """

    period: float
    delay: int
    late_starts: list[float] = field(default_factory=list)
    missed_deadlines: int = 0
    decisions: list[float] = field(default_factory=list)
    late_chunks: int = 0
    starved: int = 0

    def __str__(self) -> str:
        late, took = (_milliseconds(values) for values in (self.late_starts, self.decisions))
        return (
            f"{len(self.late_starts)} steps at {1 / self.period:g} Hz: {self.missed_deadlines} missed deadlines; "
            f"jitter {late}; decisions {took}, delay {self.delay} steps, {self.late_chunks} late; {self.starved} steps "
            f"without an action"
        )


class RealTimeLoop:
    """Runs `policy` at `hz`, with decisions beside the control loop where they take longer than a step.

    policy   observation -> chunk (H, A): `Client.chunk`, or `lambda obs: policy.predict(batched(obs), [rng])[0]`
    observe  () -> observation, called at each step
    execute  action (A,) -> None: sends it to the robot, and returns soon
    """

    def __init__(
        self,
        policy: Callable[[Obs], Array],
        observe: Callable[[], Obs],
        execute: Callable[[Array], None],
        *,
        hz: float,
        n_action_steps: int,
        chunk_weights: Sequence[float] | None = None,
        delay: int | None = None,
    ) -> None:
        """n_action_steps, chunk_weights: the policy's, as `Client.metadata` has them.  delay: steps that a decision may
        take; None measures it when the loop starts, and 0 waits for each decision within its step.

        ValueError for a rate or numbers of steps that cannot be.
        """
        if not (hz > 0 and math.isfinite(hz)) or n_action_steps < 1 or (delay is not None and delay < 0):
            raise ValueError(f"hz {hz}, n_action_steps {n_action_steps} and delay {delay} must be positive")
        self._policy, self._observe, self._execute = policy, observe, execute
        self._period, self._n, self._weights, self._delay = 1 / hz, n_action_steps, chunk_weights, delay

    def run(self, steps: int, until: Callable[[], bool] = lambda: False) -> Timing:
        """Control one episode, for so many steps or until `until()` is true.  Raises what the policy raises.

        The robot stands still until the first decision is there.  ValueError where a chunk is too short for the delay.
        """
        first = self._observe()
        delay = self._measured_delay(first) if self._delay is None else self._delay
        timing, plan = Timing(self._period, delay), CommittedPlan(self._weights)
        with ThreadPoolExecutor(1, thread_name_prefix="policy") as beside:
            episode = _Episode(self._policy, plan, timing, beside)
            chunk = episode.decide(first, 0, wait=True)
            if len(chunk) < max(self._n, delay) + delay:
                raise ValueError(
                    f"chunks of {len(chunk)} actions are too short to execute {self._n} of them {delay} steps after "
                    f"the observation; lower n_action_steps or the rate"
                )
            self._control(episode, steps, until)
        return timing

    def _control(self, episode: _Episode, steps: int, until: Callable[[], bool]) -> None:
        timing, last = episode.timing, None
        start, due = time.monotonic(), self._n - timing.delay  # the step at whose observation the next decision begins
        for step in range(steps):
            at = start + step * self._period
            if (early := at - time.monotonic()) > 0:
                time.sleep(early)
            timing.late_starts.append(max(0.0, time.monotonic() - at))
            if until():
                return
            obs = self._observe() if step else None
            if obs is not None and step >= due and episode.take_up():
                episode.decide(obs, step, wait=timing.delay == 0)
                due = step + self._n
            else:
                episode.take_up()
            action = episode.plan.next()
            if action is None:
                timing.starved += 1
                action = last
            if action is not None:
                self._execute(action)
            last = action
            over = time.monotonic() - at - self._period
            if over > 0:
                timing.missed_deadlines += 1
                start += over

    def _measured_delay(self, obs: Obs) -> int:
        """Steps that a decision takes, with a reserve; 0 where it takes less than half a step."""
        took = []
        for _ in range(WARM_UP):
            begun = time.monotonic()
            self._policy(obs)
            took.append(time.monotonic() - begun)
        longest = SAFETY * max(took[1:])  # the first one warms up
        return 0 if longest < self._period / 2 else math.ceil(longest / self._period)


class _Episode:
    """The decisions of one episode: at most one is being computed."""

    def __init__(
        self, policy: Callable[[Obs], Array], plan: CommittedPlan, timing: Timing, beside: ThreadPoolExecutor
    ) -> None:
        self._policy, self.plan, self.timing, self._beside = policy, plan, timing, beside
        self._pending: tuple[Future[tuple[Array, float]], int] | None = None

    def decide(self, obs: Obs, step: int, *, wait: bool) -> Array:
        """Begin a decision on the observation of this step; with `wait` it is taken up at once.  Returns its chunk, or
        an empty one."""
        self._pending = (self._beside.submit(self._timed, obs), step)
        if wait:
            chunk, _ = self._pending[0].result()
            self.take_up()
            return chunk
        return np.empty((0, 0), np.float32)

    def take_up(self) -> bool:
        """Add a decision that is done to the plan.  True where none is being computed any more."""
        if self._pending is None:
            return True
        future, step = self._pending
        if not future.done():
            return False
        self._pending = None
        chunk, took = future.result()
        self.timing.decisions.append(took)
        passed = self.plan.add(chunk, step)
        self.timing.late_chunks += passed > self.timing.delay
        return True

    def _timed(self, obs: Obs) -> tuple[Array, float]:
        begun = time.monotonic()
        return np.asarray(self._policy(obs)), time.monotonic() - begun


def _milliseconds(values: Sequence[float]) -> str:
    if not values:
        return "none"
    p50, p99, most = (1e3 * float(np.quantile(values, q)) for q in (0.5, 0.99, 1.0))
    return f"p50 {p50:.2f}, p99 {p99:.2f}, max {most:.2f} ms"
