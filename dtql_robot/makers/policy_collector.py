"""One episode of a policy after the other, each a function of its number alone."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from dtql_robot.envs.collection.states import simulator_state
from dtql_robot.envs.make import make_env
from dtql_robot.envs.seeding import collection_seed
from dtql_robot.errors import InputError
from dtql_robot.eval.pools.actor import ActedEpisode, choose
from dtql_robot.eval.pools.chunked_env import Lost
from dtql_robot.eval.subject import as_subject
from dtql_robot.makers.policy_plan import PolicyPlan
from dtql_robot.makers.random_actions import RandomActions
from dtql_robot.makers.released import maker
from dtql_robot.types import Array, Episode, ImageObs, Obs, Policy


class PolicyCollector:
    """Records episodes of one plan; lives in a worker process, or in the caller's."""

    def __init__(self, plan: PolicyPlan) -> None:
        self._plan, self._stack = plan, contextlib.ExitStack()
        self._images: ImageObs | None = None
        policy: Policy | None = None
        if plan.policy is not None:  # a released one is where the package is on this machine
            run = plan.policy if plan.level is None else maker(plan.task, plan.level).folder
            subject = as_subject(run, plan.task, plan.made_with)
            policy, self._images = subject.portable(), subject.image_obs
            if policy is None:
                policy = subject.policy
                self._stack.enter_context(_one_thread())
        self._env = make_env(
            plan.task, images=self._images, max_episode_steps=plan.max_episode_steps, env_args=plan.made_with or None
        )
        self._stack.callback(self._env.close)
        box: Any = self._env.action_space
        self._low, self._high = np.asarray(box.low, np.float32), np.asarray(box.high, np.float32)
        self._policy = policy or RandomActions(self._low, self._high, plan.task)
        _check(self._policy, self._env.get_wrapper_attr("facts"), plan)

    def episode(self, index: int) -> Episode:
        """Episode `index`, a function of the plan and `index` alone.  RuntimeError where it cannot be played."""
        seed = collection_seed(self._plan.seed, index)
        acted = ActedEpisode(self._policy, seed)
        rows = _Rows()
        obs, _ = self._env.reset(seed=seed)
        terminated = truncated = False
        while not (terminated or truncated):
            chunk = choose(self._policy, [obs], [acted.rng])[0]
            if isinstance(chunk, Lost):
                raise RuntimeError(chunk.reason)
            for action in acted.plan.next(chunk):
                executed = np.clip(action, self._low, self._high).astype(np.float32)
                state = simulator_state(self._env.unwrapped)
                following, reward, terminated, truncated, info = self._env.step(executed)
                if not math.isfinite(reward):
                    raise RuntimeError(f"the reward of step {len(rows.actions) + 1} is {reward}")
                rows.add(self._newest(obs), state, executed, float(reward), info.get("success"))
                obs = following
                if terminated or truncated:
                    break
        return rows.episode(index, self._newest(obs), terminated, {"seed": seed}, self._plan.task)

    def _newest(self, obs: Obs) -> dict[str, Array]:
        """The observation without the earlier frames of its images."""
        stacked = self._images.shapes if self._images is not None and self._images.frames > 1 else {}
        return {key: value[-1] if key in stacked else value for key, value in obs.items()}

    def close(self) -> None:
        """Close the environment."""
        self._stack.close()


class _Rows:
    """The steps of an episode so far."""

    def __init__(self) -> None:
        self.obs: list[dict[str, Array]] = []
        self.states: list[dict[str, Array]] = []
        self.actions: list[Array] = []
        self.rewards: list[float] = []
        self.successes: list[bool | None] = []

    def add(
        self, obs: dict[str, Array], state: dict[str, Array], action: Array, reward: float, success: bool | None
    ) -> None:
        """One step: what was seen before it and what came of it."""
        self.obs.append(obs)
        self.states.append(state)
        self.actions.append(action)
        self.rewards.append(reward)
        self.successes.append(success)

    def episode(
        self, index: int, final: dict[str, Array], terminated: bool, attrs: dict[str, Any], env: str
    ) -> Episode:
        """All of them.  InputError where success was told at some steps only."""
        labelled = [s for s in self.successes if s is not None]
        if labelled and len(labelled) < len(self.successes):
            raise InputError(
                f"{env} reports success at some steps only: expected 'success' or 'is_success' in the info of each "
                "step or of none; wrap the environment so that it does."
            )
        return Episode(
            name=f"demo_{index}",
            obs={key: np.stack([obs[key] for obs in self.obs]) for key in final},
            final_obs=final,
            actions=np.stack(self.actions),
            rewards=np.asarray(self.rewards, np.float32),
            terminated=terminated,
            truncated=not terminated,
            success=np.asarray(labelled, bool) if labelled else None,
            extras={key: np.stack([state[key] for state in self.states]) for key in self.states[0]},
            attrs=attrs,
        )


def _check(policy: Policy, facts: Any, plan: PolicyPlan) -> None:
    """InputError where policy and environment do not fit."""
    if policy.action_dim != facts.action_dim:
        raise InputError(
            f"{plan.task} takes actions with {facts.action_dim} entries, but this policy was trained for "
            f"{policy.action_dim}; record it in the environment of its data set."
        )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """As in a worker: sums over several threads may round otherwise."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
