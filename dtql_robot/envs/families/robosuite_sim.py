"""robosuite's simulation as a Gymnasium environment."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dtql_robot.envs.compose import compose
from dtql_robot.envs.families.robosuite_versions import old_object
from dtql_robot.envs.global_rng import global_seed

MODEL_SEED = 0  # of what robosuite draws while it builds a model: the size of Lift's cube, for one


class RobosuiteEnv(gymnasium.Env):
    """One robosuite task.

    Observations are all low-dimensional ones under robosuite's own names, joint accelerations
    ("robot0_joint_acc") among them, and "object", which robomimic's files hold: robosuite's "object-state", in
    the order and with the signs of robosuite 1.4 where `old` is true.
    An episode depends on `reset(seed=...)` alone.  Its model is built once (`hard_reset` false), from a seed of its
    own, so that what robosuite draws with the model is the same in every process.
    An episode terminates at its first success if `end_at_success`, as in robomimic's rollouts.
    """

    def __init__(self, task: str, kwargs: dict[str, Any], *, old: bool, end_at_success: bool) -> None:
        import robosuite

        with global_seed(MODEL_SEED):
            self.sim_env = robosuite.make(task, **kwargs)
            self._observe_accelerations()
            first = self.sim_env.reset()
        self._end_at_success = end_at_success
        objects = self._object_keys(first)
        self._object = old_object(task, objects) if old else objects
        if old:
            self._order_observables(self._object)
        self.action_space = self._action_box()
        shapes = {key: value.shape for key, value in self._observation(first).items()}
        self.observation_space = spaces.Dict({k: spaces.Box(-np.inf, np.inf, s, np.float32) for k, s in shapes.items()})

    def _action_box(self) -> spaces.Box:
        """robosuite's bounds, but for absolute poses, in metres and radians: those it does not clip."""
        low, high = (np.array(bound, np.float32) for bound in self.sim_env.action_spec)
        first = 0
        for robot in self.sim_env.robots:
            composite = robot.composite_controller
            for name in composite.arms:
                start, end = composite._action_split_indexes[name]
                if getattr(composite.part_controllers[name], "input_type", None) == "absolute":
                    low[first + start : first + end], high[first + start : first + end] = -np.inf, np.inf
            first += robot.action_dim
        return spaces.Box(low, high, dtype=np.float32)

    def _observe_accelerations(self) -> None:
        """Add robot*_joint_acc, an observation since robosuite 1.5.2, sampled when the others are."""
        from robosuite.utils.observables import Observable, sensor

        env = self.sim_env
        for i, robot in enumerate(env.robots):
            name = f"{robot.robot_model.naming_prefix}joint_acc"
            if name in env.observation_names:
                continue

            @sensor(modality="acceleration")
            def joint_acc(_: Any, i: int = i) -> Any:  # a hard reset makes new robots: name them by their number
                return np.array(env.sim.data.qacc[env.robots[i]._ref_joint_vel_indexes])

            env.add_observable(Observable(name=name, sensor=joint_acc, sampling_rate=env.control_freq))

    def _object_keys(self, obs: dict[str, Any]) -> tuple[str, ...]:
        """Names of the parts of robosuite's "object-state", in its order."""
        observables = self.sim_env._observables
        return tuple(name for name, o in observables.items() if o.modality == "object" and name in obs)

    def _order_observables(self, parts: Sequence[str]) -> None:
        """Sample an object's pose before its pose in the gripper, which robosuite 1.5 computes from the step before."""
        wanted = {part.removeprefix("-"): i for i, part in enumerate(parts)}
        named = self.sim_env._observables
        last = sorted((name for name in named if name in wanted), key=wanted.__getitem__)
        self.sim_env._observables = OrderedDict((k, named[k]) for k in [*(k for k in named if k not in wanted), *last])

    def _observation(self, obs: dict[str, Any]) -> dict[str, Any]:
        flat = {k: np.atleast_1d(np.asarray(v, np.float32)) for k, v in obs.items() if k != "acceleration-state"}
        if self._object:
            flat["object"] = compose(flat, self._object)
        return flat

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Begin an episode that depends on the seed alone.  Returns (observations by name, {})."""
        super().reset(seed=seed)
        with global_seed(None if seed is None else seed % 2**32):
            return self._observation(self.sim_env.reset()), {}

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """One control step.  Returns Gymnasium's five, with `info["success"]`."""
        obs, reward, _, info = self.sim_env.step(np.asarray(action, np.float64))
        success = bool(self.sim_env._check_success())
        ended = success and self._end_at_success
        return self._observation(obs), float(reward), ended, False, {**info, "success": success}

    def close(self) -> None:
        """Free the simulator."""
        self.sim_env.close()
