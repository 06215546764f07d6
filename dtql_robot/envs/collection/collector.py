"""One scripted demonstration after the other, each a function of its number alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from dtql_robot.envs.collection.fetch_expert import Expert, expert
from dtql_robot.envs.collection.lapses import Lapse, draw_lapse
from dtql_robot.envs.collection.maze_expert import MazeGuide, ant_maze
from dtql_robot.envs.collection.plan import NOISE_ATTRS, Plan
from dtql_robot.envs.collection.states import simulator_state
from dtql_robot.envs.make import make_env
from dtql_robot.envs.seeding import collection_seed, episode_rng
from dtql_robot.types import Array, Episode


class Collector:
    """Records episodes of one plan; lives in a worker process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._guide = MazeGuide(plan.task) if ant_maze(plan.task) else None
        self._expert = expert(plan.task) if self._guide is None else None
        self._env = make_env(plan.task, images=plan.images)
        self._horizon = self._env.get_wrapper_attr("facts").horizon

    def episode(self, index: int) -> Episode:
        """Episode `index`, a function of the plan and `index` alone."""
        plan = self._plan
        env_seed = collection_seed(plan.seed, index)
        rng = episode_rng(env_seed)
        scale = plan.noise * rng.random()
        attrs: dict[str, Any] = {"seed": env_seed, NOISE_ATTRS[plan.record]: round(scale, 6)}
        operate: Lapse | None = None
        if plan.lapses:
            attrs["lapse"], operate = draw_lapse(rng, plan.lapses, self._horizon)
        obs, demonstrator = self._begin(env_seed, rng)
        steps: list[tuple[dict[str, Array], Array, float, bool]] = []
        states: list[dict[str, Array]] = []
        terminated = truncated = False
        while not (terminated or truncated):
            wanted = demonstrator(obs)
            if operate is not None:
                wanted = operate(len(steps), wanted)
            action = np.clip(wanted + scale * rng.standard_normal(wanted.shape), -1.0, 1.0).astype(np.float32)
            if self._guide is not None:
                states.append(simulator_state(self._env.unwrapped))
            next_obs, reward, terminated, truncated, info = self._env.step(action)
            if plan.record == "intended":
                action = np.clip(wanted, -1.0, 1.0).astype(np.float32)
            steps.append((obs, action, float(reward), info["success"]))
            obs = next_obs
            truncated = truncated or (self._guide is not None and self._guide.gives_up(obs))
        return _episode(index, steps, states, obs, terminated, attrs)

    def _begin(self, seed: int, rng: np.random.Generator) -> tuple[dict[str, Array], Expert]:
        """(the first observation, who demonstrates from there)."""
        if self._guide is None:
            assert self._expert is not None
            return self._env.reset(seed=seed)[0], self._expert
        obs, _ = self._env.reset(seed=seed, options=self._guide.start(rng))
        maze: Any = self._env.unwrapped
        return obs, self._guide.expert(maze.goal, rng)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def _episode(
    index: int,
    steps: list,
    states: list[dict[str, Array]],
    final_obs: dict[str, Array],
    terminated: bool,
    attrs: dict[str, Any],
) -> Episode:
    observations, actions, rewards, successes = zip(*steps, strict=True)
    return Episode(
        name=f"demo_{index}",
        obs={key: np.stack([obs[key] for obs in observations]) for key in final_obs},
        final_obs=final_obs,
        actions=np.stack(actions),
        rewards=np.asarray(rewards, np.float32),
        terminated=terminated,
        truncated=not terminated,
        success=np.asarray(successes, bool),
        extras={key: np.stack([state[key] for state in states]) for key in states[0]} if states else {},
        attrs=attrs,
    )
