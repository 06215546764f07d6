"""Recordings of OGBench's scripted oracles, as its authors made theirs (Park et al. 2024, arXiv 2410.20092), seeded.

The oracles move one object after the other to targets that the simulation draws.  They draw from NumPy's global
generator, which is seeded for as long as an episode lasts.
"""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium
import numpy as np

from dtql_robot.envs.collection.oracle_plan import FAMILY, SCENES, OraclePlan
from dtql_robot.envs.global_rng import global_seed
from dtql_robot.envs.seeding import collection_seed
from dtql_robot.types import Array, Episode

PLAN_NOISE = {"noise": 0.1, "noise_smoothing": 0.5}
MIN_NORM = 0.4
LARGEST_NOISE = 0.1
"""Of the noisy kind: each episode draws its own from 0 to this."""
NOISE_SCALE = np.array([1.0, 1.0, 1.0, 3.0, 10.0])
"""Of x, y, z, yaw and gripper."""
RANDOM_SHARE = {"cube": 0.1, "scene": 0.1, "puzzle": 0.2}
"""Of the noisy kind: share of the actions that are uniformly random."""
MOST_TRIES = 100  # recordings of an episode in which the cube is lost; hardly any needs a second one


class OracleCollector:
    """Records episodes of one plan; lives in a worker process."""

    def __init__(self, plan: OraclePlan) -> None:
        import ogbench  # noqa: F401  (registers the environments)

        self._plan, name = plan, plan.task.removeprefix(FAMILY)
        self._scene = name.partition("-")[0]
        self._env = gymnasium.make(
            name,
            disable_env_checker=True,
            terminate_at_goal=False,
            mode="data_collection",
            max_episode_steps=plan.steps + 1,
        )
        self._sim: Any = self._env.unwrapped
        self._stacking = SCENES[name]
        self._oracles = _oracles(self._env, self._scene, plan.kind)

    def episode(self, index: int) -> Episode:
        """Episode `index`, a function of the plan and `index` alone."""
        seed: int | None = collection_seed(self._plan.seed, index)
        attrs: dict[str, Any] = {"seed": seed}
        with global_seed(seed):
            for _ in range(MOST_TRIES):
                rows, drawn = self._record(seed)
                if self._scene != "scene" or _cube_in_reach(np.stack(rows["qpos"])):
                    return _episode(index, rows, attrs | drawn)
                seed = None  # the same generators go on
        raise RuntimeError(f"the cube of {self._plan.task} left the table in {MOST_TRIES} recordings of one episode")

    def _record(self, seed: int | None) -> tuple[dict[str, list[Array]], dict[str, Any]]:
        """One recording: the rows of each array, and what was drawn for it."""
        sim, noisy, oracle_of = self._sim, self._plan.kind == "noisy", self._oracles
        obs, info = self._env.reset(seed=seed)
        stacking = np.random.uniform(*self._stacking)
        noise = np.random.uniform(0, LARGEST_NOISE) if noisy else 0.0
        random_share = RANDOM_SHARE[self._scene] if noisy else 0.0
        oracle = oracle_of[info["privileged/target_task"]]
        oracle.reset(obs, info)
        rows: dict[str, list[Array]] = {"obs": [], "actions": [], "qpos": [], "qvel": []}
        if "button_states" in info:
            rows["button_states"] = []
        infos = [(key, rows[key]) for key in rows if key not in ("obs", "actions")]
        scale = noise * NOISE_SCALE
        targets, reached, random_actions, done = 1, 0, 0, False
        while not done:
            if random_share and np.random.random() < random_share:
                action = np.random.uniform(-1, 1, 5)
                random_actions += 1
            else:
                action = oracle.select_action(obs, info)
                if noisy:
                    action = action + scale * np.random.standard_normal(5)
            action = np.minimum(np.maximum(action, -1), 1).astype(np.float32)  # a third of the time of np.clip
            rows["obs"].append(obs)
            rows["actions"].append(action)
            for key, values in infos:
                values.append(info[key])
            obs, _, terminated, truncated, info = self._env.step(action)
            done = terminated or truncated
            if oracle.done:  # the oracle sees the new target; `info` still has the old one, as in the published data
                reached += bool(info["success"])
                if not done:
                    targets += 1
                    seen, about = sim.set_new_target(p_stack=stacking)
                    oracle = oracle_of[about["privileged/target_task"]]
                    oracle.reset(seen, about)
        drawn: dict[str, Any] = {"targets": targets, "targets_reached": reached}
        if stacking:
            drawn["stacking"] = round(float(stacking), 6)
        if noisy:
            drawn |= {"noise": round(float(noise), 6), "random_actions": random_actions}
        return rows, drawn

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def _oracles(env: gymnasium.Env, scene: str, kind: str) -> dict[str, Any]:
    """Target's kind -> the oracle for it."""
    module, suffix = ("plan", "PlanOracle") if kind == "play" else ("markov", "MarkovOracle")
    targets = {"cube": ["cube"], "puzzle": ["button"], "scene": ["cube", "button", "drawer", "window"]}[scene]
    found = {}
    for target in targets:
        of = importlib.import_module(f"ogbench.manipspace.oracles.{module}.{target}_{module}")
        settings: dict[str, Any] = dict(PLAN_NOISE) if kind == "play" else {"min_norm": MIN_NORM}
        if scene == "puzzle":
            settings["gripper_always_closed"] = True
        if kind == "noisy" and scene == "scene" and target == "cube":
            settings["max_step"] = 100
        found[target] = getattr(of, f"{target.capitalize()}{suffix}")(env=env, **settings)
    return found


def _cube_in_reach(qpos: Array) -> bool:
    """Whether the cube of "scene" stays where it can be seen: on the table, or in the drawer."""
    _, y, z = qpos[:, 14:17].T
    return not (np.any(y >= 0.29) or np.any((y <= -0.3) & ((z < 0.06) | (z > 0.08))))


def _episode(index: int, rows: dict[str, list[Array]], attrs: dict[str, Any]) -> Episode:
    """The last row has an observation and states, and no step that is kept."""
    dtypes = {"button_states": np.int64}
    arrays = {key: np.stack(values).astype(dtypes.get(key, np.float32)) for key, values in rows.items()}
    obs, actions = arrays.pop("obs"), arrays.pop("actions")
    return Episode(
        name=f"episode_{index}",
        obs={"observation": obs[:-1]},
        final_obs={"observation": obs[-1]},
        actions=actions[:-1],
        rewards=np.zeros(len(actions) - 1, np.float32),
        terminated=False,
        truncated=True,
        extras={f"infos/{key}": values[:-1] for key, values in arrays.items()},
        attrs={
            **attrs,
            "rewards_missing": True,
            "final_infos": {key: values[-1].tolist() for key, values in arrays.items()},
        },
    )
