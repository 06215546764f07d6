"""Observations, images, rewards and success of a robosuite recording, from its simulator states.

The model is that of the installed robosuite, with the objects' sizes taken from the recorded XML.  The XML itself is
not simulated: the names of bodies, sites and actuators changed between versions, and so did what observations and
success are computed from.  What moves is the same, so states fit wherever their length does.
"""

from __future__ import annotations

import math
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtql_robot.datasets.formats.robomimic_write import save_robomimic_stream
from dtql_robot.datasets.formats.robosuite_recording import StateDemo, read_state_demo
from dtql_robot.envs import make_env
from dtql_robot.envs.rendering.gl import require_gl
from dtql_robot.errors import InputError
from dtql_robot.types import Array, Episode

SOURCE_DEMO = "source_demo"  # attribute: the demo's name in the file that it was made from


class StateSimulation:
    """One robosuite environment whose state is put to recorded ones."""

    def __init__(
        self,
        spec: str,
        env_args: dict[str, Any],
        cameras: Sequence[str] = (),
        size: tuple[int, int] = (84, 84),
        **frames: Any,
    ) -> None:
        """cameras, size: see `observe`.  frames: arguments of `make_env` for `env.render`."""
        self.spec = spec
        self.env = make_env(spec, env_args={"end_at_success": False, **env_args}, **frames)
        inner: Any = self.env.unwrapped
        self._inner = inner
        self.sim_env: Any = inner.sim_env
        facts = self.env.get_wrapper_attr("facts")
        self._cameras = {name: self._camera(facts.check_camera(name), size) for name in cameras}
        self.env.reset(seed=0)

    def _camera(self, name: str, size: tuple[int, int]) -> Any:
        from dtql_robot.envs.rendering.camera import FollowingCamera

        require_gl()

        def simulation() -> tuple[Any, Any]:
            return self.sim_env.sim.model._model, self.sim_env.sim.data._data

        return FollowingCamera(simulation, size[1], size[0], {"name": name}, hidden_groups=(0,))

    def start(self, demo: StateDemo) -> None:
        """A fresh episode of the recorded model in its first state."""
        self.env.reset(seed=0)
        if demo.model is not None:
            adopt_sizes(self.sim_env.sim.model._model, demo.model)
        expected = self.sim_env.sim.get_state().flatten().shape[0]
        if demo.states.shape[1] != expected:
            raise InputError(
                f"{demo.name}: its states have {demo.states.shape[1]} entries, those of {self.spec} in the installed "
                f"robosuite {expected}. Install the version it was recorded with."
            )
        self.put(demo.states[0])

    def put(self, state: Array) -> None:
        """The simulation in `state` (time, qpos, qvel)."""
        self.sim_env.sim.set_state_from_flattened(state)
        self.sim_env.sim.forward()

    def ready_to_step(self, past: Array) -> None:
        """Give the controllers the memory they had when the present state was recorded.

        past: (t, A) the actions before it.  Arms keep the pose of their last update and would take the next action as
        a delta from there (in Lift the hand then moves by 11 mm where the recording says 0.08 mm); grippers add up
        their commands, and one that forgot them lets go of what it holds.
        """
        first = 0
        for robot in self.sim_env.robots:
            composite = robot.composite_controller
            for part, controller in composite.part_controllers.items():
                controller.update(force=True)
                controller.reset_goal()
                if part in composite.grippers:
                    start, end = composite._action_split_indexes[part]
                    for action in past[:, first + start : first + end]:
                        composite.grippers[part].format_action(np.clip(action, -1, 1))
            first += robot.action_dim

    @property
    def success(self) -> bool:
        """Whether the task is done in the present state."""
        return bool(self.sim_env._check_success())

    def observe(self) -> dict[str, Array]:
        """Observations of the present state: those of `make_env`, and "<camera>_image" (height, width, 3) uint8."""
        obs = dict(self._inner._observation(self.sim_env._get_observations(force_update=True)))
        return obs | {f"{name}_image": camera.frame() for name, camera in self._cameras.items()}

    def close(self) -> None:
        """Free the simulator."""
        for camera in self._cameras.values():
            camera.close()
        self.env.close()


def adopt_sizes(model: Any, xml: str) -> None:
    """Give the objects that move freely the sizes that the recorded model had (robosuite draws some at random)."""
    import mujoco

    try:
        recorded = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise InputError(f"The recorded model_file is not XML ({error}).") from error
    for geom in recorded.iter("geom"):
        name, size = geom.get("name"), geom.get("size")
        if not name or not size or geom.get("type") == "mesh":
            continue
        index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, name)
        if index < 0 or not _moves_freely(model, model.geom_bodyid[index]):
            continue
        values = _sizes(name, size)
        if model.geom_type[index] != mujoco.mjtGeom.mjGEOM_MESH:
            model.geom_size[index, : len(values)] = values


def _sizes(name: str, text: str) -> list[float]:
    """Half sizes (m) from the attribute `size` of the recorded geom `name`."""
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = [math.nan]
    if len(values) > 3 or not any(values) or not all(0 <= value < math.inf for value in values):
        raise InputError(
            f"The recorded model_file gives {name!r} the size {text[:40]!r}; expected up to 3 positive numbers."
        )
    return values


def _moves_freely(model: Any, body: int) -> bool:
    import mujoco

    root = model.body_rootid[body]
    first = model.body_jntadr[root]
    return bool(first >= 0 and model.jnt_type[first] == mujoco.mjtJoint.mjJNT_FREE)


def episode_from_states(simulation: StateSimulation, demo: StateDemo) -> Episode:
    """Observations before each action, and reward and success after it.

    What follows the last action was not recorded: that action is simulated from the last state.
    """
    simulation.start(demo)
    observations, rewards, success = [simulation.observe()], [], []
    for step, action in enumerate(demo.actions):
        if step + 1 < len(demo.states):
            simulation.put(demo.states[step + 1])
        else:
            simulation.ready_to_step(demo.actions[:step])
            simulation.env.step(action)
        observations.append(simulation.observe())
        rewards.append(float(simulation.sim_env.reward(action)))
        success.append(simulation.success)
    obs = {key: np.stack([o[key] for o in observations]) for key, v in observations[0].items() if np.size(v)}
    attrs: dict[str, Any] = {**demo.attrs, SOURCE_DEMO: demo.name}
    if demo.model is not None:
        attrs["model_file"] = demo.model
    return Episode(
        name=demo.name,
        obs={k: v[:-1] for k, v in obs.items()},
        final_obs={k: v[-1] for k, v in obs.items()},
        actions=demo.actions,
        rewards=np.asarray(rewards, np.float32),
        terminated=success[-1],
        truncated=not success[-1],
        success=np.asarray(success, bool),
        extras={"states": demo.states, **demo.extras},
        attrs=attrs,
    )


class StateReplayer:
    """Writes one demo after the other to a file of its own; lives in a worker process."""

    def __init__(
        self, source: str, spec: str, env_args: dict[str, Any], cameras: Sequence[str], size: tuple[int, int]
    ) -> None:
        self._source, self._env_args = Path(source), env_args
        self._simulation = StateSimulation(spec, env_args, cameras, size)

    def write(self, job: tuple[str, str]) -> dict[str, Any]:
        """job: (demo, file to write).  Returns {"name", "steps", "success", "ends_in_success"}."""
        name, path = job
        return self._write(read_state_demo(self._source, name), Path(path))

    def replay(self, demo: StateDemo) -> tuple[dict[str, Any], bytes]:
        """(what `write` returns, the file's content) of a demo from a file that need not be here."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "part.hdf5"
            outcome = self._write(demo, path)
            return outcome, path.read_bytes()

    def _write(self, demo: StateDemo, path: Path) -> dict[str, Any]:
        name, episode = demo.name, episode_from_states(self._simulation, demo)
        save_robomimic_stream([episode], path, env_args=self._env_args, overwrite=True)
        assert episode.success is not None
        return {
            "name": name,
            "steps": len(episode),
            "success": bool(episode.success.any()),
            "ends_in_success": episode.ends_in_success,
            "empty": sorted(k for k, v in self._simulation.observe().items() if not np.size(v)),
        }

    def close(self) -> None:
        """Free the simulator."""
        self._simulation.close()
