"""What a camera and a stenographer keep of an episode: frames, signals, actions and values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dtql_robot.envs.info import EnvInfo
from dtql_robot.errors import InputError, describe
from dtql_robot.eval.video.labels import fitted
from dtql_robot.eval.video.spec import VideoSpec
from dtql_robot.eval.video.traces import Panels, Trace
from dtql_robot.types import Array, Frame, Obs, Policy, ValuesActions, chunk_weights_of

if TYPE_CHECKING:
    import gymnasium

Decorate = Callable[[Frame, dict[str, Any]], Frame]
TITLES = {"actions": "actions", "q": "Q of the chosen chunk"}


class DrawingError(InputError):
    """The environment draws no picture: nothing that playing the episode again would mend."""


@dataclass
class Take:
    """One episode as it was filmed.

    frames   (step, frame), in order
    signals  for each frame, whether the episode would be a success if it ended there (`EnvInfo.success_rule`); None
             where that is not told
    notes    for each frame, the number that decides success; empty where none is known
    actions  (A,) of each step
    values   (step, Q) of each decision
    """

    frames: list[tuple[int, Frame]] = field(default_factory=list)
    signals: list[bool | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    actions: list[Array] = field(default_factory=list)
    values: list[tuple[int, float]] = field(default_factory=list)

    def panels(self, names: Sequence[str], width: int) -> Panels | None:
        """The curves of these names over the episode; None for no name."""
        steps = np.arange(len(self.actions), dtype=np.float64)
        found = {"actions": (steps, np.array(self.actions, np.float64))}
        if self.values:
            found["q"] = (np.array(self.values)[:, 0], np.array(self.values)[:, 1:])
        traces = [Trace(TITLES[name], *found[name]) for name in names]
        return Panels(traces, len(self.actions), width) if traces else None


def filming(env: gymnasium.Env, spec: VideoSpec, stride: int, decorate: Decorate) -> Any:
    """The environment, which keeps what it does in `take`: every `stride`-th frame and the last one.

    Every frame is checked; DrawingError for one that is blank or noise.  One of another size is fitted in.
    decorate: (frame, observation) -> the frame that is kept.
    """
    import gymnasium

    from dtql_robot.envs.rendering.camera import check_frame

    facts: EnvInfo = env.get_wrapper_attr("facts")
    box: Any = env.action_space

    class Filming(gymnasium.Wrapper):
        take = Take()

        def _draw(self, obs: Any, signal: bool | None) -> None:
            try:
                frame = fitted(self.env.render(), spec.width, spec.height)
                check_frame(frame)
            except Exception as error:
                raise DrawingError(describe(error)) from error
            take = self.take
            take.frames.append((len(take.actions), decorate(frame, obs)))
            take.signals.append(signal)
            if facts.measure is not None:
                value = facts.measure.read(obs)
                take.notes.append("" if value is None else facts.measure.told(value))

        def reset(self, **kwargs: Any) -> tuple[Any, dict]:
            outcome = self.env.reset(**kwargs)
            self.take, self._reached = Take(), False
            self._draw(outcome[0], False)
            return outcome

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
            outcome = self.env.step(action)
            self.take.actions.append(np.clip(np.asarray(action, np.float32), box.low, box.high))
            success = outcome[4].get("success")
            self._reached = self._reached or bool(success)
            if len(self.take.actions) % stride == 0 or outcome[2] or outcome[3]:
                seen = success if success is None or facts.success_rule == "last" else self._reached
                self._draw(outcome[0], seen)
            return outcome

    return Filming(env)


class Valued:
    """A policy whose choices are valued by its critic as it makes them; it acts as it does without."""

    def __init__(self, policy: Policy, camera: Any) -> None:
        """camera: what `filming` returns, whose take receives the values."""
        self._policy, self._camera = policy, camera
        self.action_dim, self.n_action_steps = policy.action_dim, policy.n_action_steps
        self.chunk_weights = chunk_weights_of(policy)

    def predict(self, obs: Obs, rngs: Sequence[np.random.Generator]) -> Array:
        """See `types.Policy`; one robot."""
        chunks = self._policy.predict(obs, rngs)
        assert isinstance(self._policy, ValuesActions)
        take: Take = self._camera.take
        take.values.append((len(take.actions), float(self._policy.action_values(obs, chunks)[0])))
        return chunks
