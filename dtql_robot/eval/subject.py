"""What is judged: a policy, the environment it is judged in, and what is known of that environment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.env_record import EnvChoice, choose_env, same_environment
from dtql_robot.envs.info import EnvInfo
from dtql_robot.errors import InputError
from dtql_robot.types import Array, ImageObs, Obs, Policy, Portable, chunk_weights_of, image_obs_of

Function = Callable[[Obs], Any]
"""One robot's observation, key -> array without batch dimension, to its next action (A,)."""


class FunctionPolicy:
    """A function from observation to action as a policy that decides at every step."""

    n_action_steps = 1

    def __init__(self, function: Function) -> None:
        self.function, self.action_dim = function, 0

    def predict(self, obs: Obs, rngs: Sequence[np.random.Generator]) -> Array:
        """See `types.Policy`."""
        robots = [{key: value[b] for key, value in obs.items()} for b in range(len(rngs))]
        return np.stack([self._action(robot).reshape(1, -1) for robot in robots])

    def _action(self, robot: Obs) -> Array:
        found = self.function(robot)
        try:
            action = np.asarray(found, np.float32)
        except (TypeError, ValueError):
            raise self._wrong(f"{found!r:.80}") from None
        if action.size != self.action_dim:
            raise self._wrong(f"an array of shape {action.shape}")
        return action

    def _wrong(self, found: str) -> InputError:
        return InputError(f"The function to evaluate returned {found}; expected an action, {self.action_dim} numbers.")


@dataclass(frozen=True)
class Subject:
    """A policy in an environment.  What a policy may have besides `types.Policy`'s methods is read here alone.

    scores: the returns that count as 0 and 100 in this environment, where the policy's data brought them.
    """

    policy: Policy
    spec: str
    env_args: dict[str, Any] | None
    scores: tuple[float, float] | None = None

    @property
    def image_obs(self) -> ImageObs | None:
        """The images that it is to be shown."""
        return image_obs_of(self.policy)

    @property
    def chunk_weights(self) -> tuple[float, ...] | None:
        """What its older chunks count."""
        return chunk_weights_of(self.policy)

    def portable(self) -> Policy | None:
        """The same policy as something to be copied to the simulators, where it can be (see `types.Policy`)."""
        return self.policy.portable() if isinstance(self.policy, Portable) else None

    def meets(self, facts: EnvInfo) -> None:
        """A function takes actions of the size that the environment has."""
        if isinstance(self.policy, FunctionPolicy):
            self.policy.action_dim = facts.action_dim


def as_subject(
    policy: Policy | Function | str | os.PathLike[str], env: str | None, env_args: dict[str, Any] | None
) -> Subject:
    """What `evaluate` was given, with the environment that is meant and what the policy's run records of it.

    env_args: given by the caller, they are used instead of any record.
    """
    if isinstance(policy, (str, os.PathLike)):
        import dtql_robot  # its public face: nothing here knows how a policy is trained or stored

        policy = dtql_robot.load_policy(os.fspath(policy))
    recorded: EnvChoice | None = getattr(policy, "recorded_env", None)
    if not isinstance(policy, Policy):
        if not callable(policy):
            raise InputError(f"Expected a run folder, a policy or a function to evaluate, found {policy!r}.")
        policy = FunctionPolicy(policy)
    if recorded is None:
        if env is None:
            raise InputError(
                "This policy records no environment; name the one to evaluate it in: evaluate(policy, env)."
            )
        return Subject(policy, env, env_args)
    chosen = choose_env(env, recorded.spec, recorded.env_args, source=recorded.source)
    spec = chosen.require()
    known = recorded.spec is not None and same_environment(spec, recorded.spec)
    scores = getattr(policy, "reference_scores", None) if known else None
    if env_args is not None:
        return Subject(policy, spec, env_args, scores)
    for note in chosen.notes:
        warnings.warn(note, stacklevel=3)
    return Subject(policy, spec, chosen.env_args, scores)
