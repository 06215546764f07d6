"""A recorded episode put back into its simulator: its first state, its actions, or each of its states."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from dtql_robot.datasets.formats.robosuite_recording import StateDemo
from dtql_robot.env_record import EnvChoice
from dtql_robot.envs import EnvInfo, make_env
from dtql_robot.envs.rendering.simulation import hidden_groups_of, simulation_of
from dtql_robot.errors import InputError
from dtql_robot.replay.robosuite_states import StateSimulation
from dtql_robot.types import Array, Demonstrations, Episode

LARGEST_SEED = 2**63 - 1


class Player(Protocol):
    """One simulator that replays episodes.

    facts           what is known about the environment
    start(e)        the first recorded state of e; returns the observation
    step(action)    one step; returns (observation, success or None)
    put(e, t)       the recorded state before action t; returns success or None
    ready(e, t)     before `step` continues from such a state
    frame()         the scene as (height, width, 3) uint8
    simulation()    MuJoCo's (model, data) as they are now
    hidden_groups   groups of geometry that are not for the eye
    """

    facts: EnvInfo

    def start(self, episode: Episode) -> dict[str, Array]:
        """Put the simulator into the episode's first state.  Returns the observation there."""

    def step(self, action: Array) -> tuple[dict[str, Array], bool | None]:
        """Execute an action.  Returns the observation and success (None where it is not known)."""

    def put(self, episode: Episode, step: int) -> bool | None:
        """Show the recorded state of a step.  Returns success there (None where it is not known)."""

    def ready(self, episode: Episode, step: int) -> None:
        """Prepare to `step` on from the recorded state of a step."""

    def frame(self) -> Array:
        """The picture of the state, (H, W, 3) uint8."""

    def simulation(self) -> tuple[Any, Any]:
        """MuJoCo's (model, data) as they are now."""

    @property
    def hidden_groups(self) -> tuple[int, ...]:
        """Groups of geometry that are not for the eye."""

    def close(self) -> None:
        """Free the simulator."""


def make_player(demos: Demonstrations, chosen: EnvChoice, **frames: Any) -> Player:
    """The player for the chosen environment.  frames: arguments of `make_env`."""
    spec, env_args = chosen.require(), chosen.env_args
    longest = max(len(e) for e in demos.episodes)  # and not one more: Meta-World's episodes have 500 steps at most
    if spec.startswith("robosuite:"):
        return RobosuitePlayer(spec, env_args, max_episode_steps=longest, **frames)
    return GymPlayer(spec, env_args, max_episode_steps=longest, **frames)


class RobosuitePlayer:
    """Episodes with `states`, or with the seed of their reset."""

    def __init__(self, spec: str, env_args: dict[str, Any], **frames: Any) -> None:
        self._simulation = StateSimulation(spec, env_args, **frames)
        self.facts: EnvInfo = self._simulation.env.get_wrapper_attr("facts")

    def start(self, episode: Episode) -> dict[str, Array]:
        """Put the simulator into the episode's first state.  Returns the observation there."""
        states = episode.extras.get("states")
        if states is not None:
            model = episode.attrs.get("model_file")
            self._simulation.start(StateDemo(episode.name, episode.actions, states, model))
            self._simulation.ready_to_step(episode.actions[:0])
            return self._simulation.observe()
        obs, _ = self._simulation.env.reset(seed=recorded_seed(episode))
        return obs

    def step(self, action: Array) -> tuple[dict[str, Array], bool | None]:
        """Execute an action.  Returns the observation and success (None where it is not known)."""
        obs, *_, info = self._simulation.env.step(action)
        return obs, info.get("success")

    def put(self, episode: Episode, step: int) -> bool | None:
        """Show the recorded state of a step.  Returns success there (None where it is not known)."""
        if "states" not in episode.extras:
            raise InputError(f"{episode.name} has no recorded 'states'; use --use actions.")
        self._simulation.put(episode.extras["states"][step])
        return self._simulation.success

    def ready(self, episode: Episode, step: int) -> None:
        """Prepare to `step` on from the recorded state of a step."""
        self._simulation.ready_to_step(episode.actions[:step])

    def frame(self) -> Array:
        """The picture of the state, (H, W, 3) uint8."""
        return np.asarray(self._simulation.env.render())

    def simulation(self) -> tuple[Any, Any]:
        """MuJoCo's (model, data) as they are now."""
        return simulation_of(self._simulation.env)

    @property
    def hidden_groups(self) -> tuple[int, ...]:
        """Groups of geometry that are not for the eye."""
        return hidden_groups_of(self._simulation.env)

    def close(self) -> None:
        """Free the simulator."""
        self._simulation.close()


class GymPlayer:
    """Gymnasium environments: MuJoCo's qpos and qvel where they were recorded, else the seed of the reset."""

    def __init__(self, spec: str, env_args: dict[str, Any], **frames: Any) -> None:
        self._spec = spec
        self._env = make_env(spec, env_args=env_args, **frames)
        self._sim: Any = self._env.unwrapped
        self.facts: EnvInfo = self._env.get_wrapper_attr("facts")

    def start(self, episode: Episode) -> dict[str, Array]:
        """Put the simulator into the episode's first state.  Returns the observation there."""
        if not has_positions(episode):
            obs, _ = self._env.reset(seed=recorded_seed(episode))
            return obs
        obs, _ = self._env.reset(seed=0)
        goals = episode.extras.get("infos/goal")
        if goals is not None and hasattr(self._sim, "set_goal"):  # D4RL's mazes
            self._sim.set_goal(goals[0])
        self.put(episode, 0)
        if not hasattr(self._sim, "set_state"):
            return {}  # of what an inner simulator was put to, the environment tells no observation
        get_obs = getattr(self._sim, "_get_obs", None)
        return obs if get_obs is None else {"observation": np.asarray(get_obs(), np.float32)}

    def step(self, action: Array) -> tuple[dict[str, Array], bool | None]:
        """Execute an action.  Returns the observation and success (None where it is not known)."""
        obs, *_, info = self._env.step(action)
        return obs, info.get("success")

    def put(self, episode: Episode, step: int) -> bool | None:
        """Show the recorded state of a step.  Returns success there (None where it is not known)."""
        if not has_positions(episode):
            raise InputError(f"{episode.name} has no recorded states (infos/qpos, infos/qvel); use --use actions.")
        qpos, qvel = (np.asarray(episode.extras[f"infos/{k}"][step], np.float64) for k in ("qpos", "qvel"))
        model = getattr(self._sim, "model", None)
        expected = (getattr(model, "nq", None), getattr(model, "nv", None))
        inner = _with_state(self._sim)
        if inner is None:
            raise InputError(
                f"{episode.name}: {self._spec} cannot be put into a recorded state; only the seed of a "
                "reset could start it."
            )
        if (*qpos.shape, *qvel.shape) != expected:
            raise InputError(
                f"{episode.name}: its recorded state does not fit {self._spec}: qpos and qvel have "
                f"{qpos.shape} and {qvel.shape} entries, the environment's {expected}; give the "
                "environment it was recorded in with --env."
            )
        if hasattr(self._sim, "set_env_state"):
            self._sim.set_env_state(self._adroit_state(episode, step, qpos, qvel))
        else:
            inner.set_state(qpos, qvel)
            if inner is not self._sim and hasattr(inner, "_get_obs"):
                inner._get_obs()  # FrankaKitchen's controller goes on from what it saw last
        return None

    def _adroit_state(self, episode: Episode, step: int, qpos: Array, qvel: Array) -> dict[str, Array]:
        """Adroit's state dictionary: joints, and what its reset moves (door, board, target, object).

        Its entries are those of the environment's state space.  `get_env_state` gives others too (the hammer's target,
        the palm), which `set_env_state` then refuses.
        """
        state = {"qpos": qpos, "qvel": qvel}
        for key, space in self._sim._state_space.spaces.items():
            recorded = episode.extras.get(f"infos/{key}")
            if key in state:
                continue
            if recorded is None and key == "door_body_pos":
                state[key] = self._door_position(episode, step, qpos, qvel)
                continue
            if recorded is None:
                raise InputError(
                    f"{episode.name}: {key!r} was not recorded (infos/{key}), so the scene "
                    f"of {self._spec} cannot be restored."
                )
            # The environment takes obj_pos for the place that the object's joints count from: where it lay at first.
            state[key] = np.asarray(recorded[0 if key == "obj_pos" else step], np.float64)
            if state[key].shape != space.shape:
                raise InputError(
                    f"{episode.name}: infos/{key} has shape {state[key].shape}, {self._spec} expects "
                    f"{space.shape}; pass the environment it was recorded in with --env."
                )
        return state

    def _door_position(self, episode: Episode, step: int, qpos: Array, qvel: Array) -> Array:
        """Where the door stood, from the handle's place in the observation: the door moves it by a translation."""
        guess = self._sim.get_env_state()["door_body_pos"].copy()
        self._sim.set_env_state({"qpos": qpos, "qvel": qvel, "door_body_pos": guess})
        handle = slice(32, 35)
        (recorded,) = episode.obs.values()
        return guess + recorded[step][handle].astype(np.float64) - self._sim._get_obs()[handle]

    def ready(self, episode: Episode, step: int) -> None:
        """Prepare to `step` on from the recorded state of a step."""

    def frame(self) -> Array:
        """The picture of the state, (H, W, 3) uint8."""
        return np.asarray(self._env.render())

    def simulation(self) -> tuple[Any, Any]:
        """MuJoCo's (model, data) as they are now."""
        return simulation_of(self._env)

    @property
    def hidden_groups(self) -> tuple[int, ...]:
        """Groups of geometry that are not for the eye."""
        return hidden_groups_of(self._env)

    def close(self) -> None:
        """Free the simulator."""
        self._env.close()


def _with_state(sim: Any) -> Any:
    """What has `set_state`: the environment, or the simulator inside FrankaKitchen, AntMaze, PointMaze; or None."""
    inside = (getattr(sim, name, None) for name in ("robot_env", "ant_env", "point_env"))
    return next((s for s in (sim, *inside) if hasattr(s, "set_state")), None)


def has_positions(episode: Episode) -> bool:
    """Whether MuJoCo's joint positions and velocities were recorded."""
    return "infos/qpos" in episode.extras and "infos/qvel" in episode.extras


def recorded_seed(episode: Episode) -> int:
    """The seed of the episode's reset; InputError where its start was not recorded at all."""
    seed = episode.attrs.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool) and not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"{episode.name}: the recorded seed of its reset is {seed}; expected 0 to {LARGEST_SEED}.")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(
            f"{episode.name}: neither its simulator states nor the seed of its reset were recorded, so it "
            "cannot be replayed."
        )
    return seed
