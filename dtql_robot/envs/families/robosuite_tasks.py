"""The family "robosuite:": Lift, Stack, PickPlaceCan, NutAssemblySquare, Door, ToolHang, TwoArmTransport and others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.wrappers import TimeLimit

from dtql_robot.env_record import DRAWING, env_kwargs, recorded_kwargs
from dtql_robot.envs.families import robosuite_stages
from dtql_robot.envs.families import robosuite_versions as versions
from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.measure import Place
from dtql_robot.envs.rendering.camera import FollowingCamera
from dtql_robot.envs.wrapper import UniformEnv, box_action_dim, flat_space
from dtql_robot.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from dtql_robot.envs.make import EnvRequest

expand = versions.expand_version

# Steps of an episode: robomimic's for its tasks, enough for a person at 20 Hz for the others.
HORIZONS = {
    "Lift": 400,
    "Stack": 400,
    "PickPlaceCan": 400,
    "NutAssemblySquare": 400,
    "ToolHang": 700,
    "TwoArmTransport": 700,
}
OTHER_HORIZON = 500
# Ours to decide: how it is drawn and when an episode ends, whatever the recording did.
DECIDED = {
    "has_renderer": False,
    "has_offscreen_renderer": False,
    "use_camera_obs": False,
    "use_object_obs": True,
    "ignore_done": True,
    "renderer": "mujoco",
}
OF_THE_SCREEN = ("render_camera", "render_gpu_device_id", "renderer_config")
DROPPED = (*DECIDED, *DRAWING, *OF_THE_SCREEN, "horizon", "max_episode_steps", "seed")
MAX_FREQUENCY = 500  # Hz: robosuite simulates in steps of 2 ms, and at a higher rate it would not move at all
# Views that hold the whole space in which the gripper works.
TABLE_VIEW: dict[str, Any] = {"lookat": (-0.1, 0.0, 1.0), "distance": 1.5, "azimuth": 145.0, "elevation": -22.0}
BINS_VIEW = {"lookat": (0.1, 0.02, 1.02), "distance": 1.9, "azimuth": 165.0, "elevation": -32.0}
WIDE_VIEW = {**TABLE_VIEW, "lookat": (0.0, 0.0, 0.95), "distance": 2.4}
DOOR_VIEW: dict[str, Any] = {"lookat": (-0.25, -0.2, 1.0), "distance": 1.6, "azimuth": 215.0, "elevation": -25.0}
TABLE_TASKS = ("Lift", "Stack", "ToolHang", "Wipe", "NutAssembly", "NutAssemblySquare", "NutAssemblyRound")
BIN_TASKS = ("PickPlace", "PickPlaceMilk", "PickPlaceBread", "PickPlaceCereal", "PickPlaceCan")
VIEWS = {
    **dict.fromkeys(TABLE_TASKS, TABLE_VIEW),
    **dict.fromkeys(BIN_TASKS, BINS_VIEW),
    "Door": DOOR_VIEW,
    **dict.fromkeys(("TwoArmHandover", "TwoArmTransport"), WIDE_VIEW),
}
OTHER_VIEW: dict[str, Any] = {"name": "agentview"}


def _errors_only(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _import() -> Any:
    """robosuite, without the lines that it logs while it is imported and whenever a model is built."""
    logging.getLogger("robosuite_logs").addFilter(_errors_only)
    try:
        import robosuite
    except ModuleNotFoundError as error:
        if error.name != "robosuite":
            raise
        raise InputError(
            "robosuite environments need the package robosuite: `pip install 'dtql-robot[robosuite]'`."
        ) from error
    return robosuite


def _check_task(task: str, robosuite: Any) -> None:
    known = sorted(robosuite.ALL_ENVIRONMENTS)
    if task not in known:
        hint = did_you_mean(f"robosuite:{task}", [f"robosuite:{name}" for name in known], n=1)
        raise InputError(f"robosuite has no task {task!r}. {hint} It has {', '.join(known)}.")


def environment_kwargs(task: str, env_args: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """(arguments of `robosuite.make`, whether the record is of robosuite 1.4 or before).

    env_args: robomimic's record {"env_name", "env_version", "env_kwargs"}, plain keyword arguments, or empty.
    """
    old = versions.is_old(env_args)
    kwargs = {k: v for k, v in env_kwargs(env_args).items() if k not in DROPPED}
    if not 0 < (kwargs.get("control_freq") or 20) <= MAX_FREQUENCY:
        raise InputError(
            f"robosuite:{task}: control_freq must be above 0 and up to {MAX_FREQUENCY} Hz, found "
            f"{kwargs['control_freq']}."
        )
    kwargs.setdefault("robots", ["Panda"] * (2 if task.startswith("TwoArm") else 1))
    kwargs.setdefault("hard_reset", False)
    if old:
        kwargs.setdefault("lite_physics", False)
    if kwargs.get("controller_configs") is not None:
        kwargs["controller_configs"] = _controllers(kwargs["controller_configs"], kwargs["robots"], old)
    return kwargs | DECIDED, old


def _controllers(configs: Any, robots: Any, old: bool) -> Any:
    """Controller configurations for every robot, upgraded where they are of the old form."""
    from robosuite.models.robots.robot_model import REGISTERED_ROBOTS

    names = [robots] if isinstance(robots, str) else list(robots)
    each = list(configs) if isinstance(configs, (list, tuple)) else [configs] * len(names)
    upgraded = []
    for name, config in zip(names, each, strict=True):
        arms = getattr(REGISTERED_ROBOTS.get(name), "arms", ["right"])
        upgraded.append(versions.upgrade_controller(config, name, arms, old))
    return upgraded if len(upgraded) > 1 else upgraded[0]


def make(task: str, request: EnvRequest) -> gymnasium.Env:
    """The robosuite task of this name, as its data set recorded it or with robosuite's defaults for a Panda."""
    robosuite = _import()
    from dtql_robot.envs.families.robosuite_sim import RobosuiteEnv

    _check_task(task, robosuite)
    recorded = dict(request.env_args)
    end_at_success = bool(recorded.pop("end_at_success", True))
    try:
        kwargs, old = environment_kwargs(task, recorded)
        env = RobosuiteEnv(task, kwargs, old=old, end_at_success=end_at_success)
    except InputError:
        raise
    except Exception as error:  # robosuite has no error of its own for arguments that it cannot use
        raise InputError(f"{request.spec} cannot be made with arguments {recorded}: {error!r}.") from error
    _check_names_stay(env, request.spec)
    horizon = request.max_episode_steps or recorded_kwargs(recorded)[1] or HORIZONS.get(task, OTHER_HORIZON)
    shapes = {key: box.shape for key, box in flat_space(env.observation_space, request.spec).items()}
    facts = EnvInfo(
        spec=request.spec,
        horizon=horizon,
        success_rule="any",
        fps=round(env.sim_env.control_freq),
        action_dim=box_action_dim(env, request.spec),
        obs_shapes=shapes,
        cameras=tuple(env.sim_env.sim.model.camera_names),
        places=_places(shapes),
        measure=robosuite_stages.measure(task, env),
        stages=robosuite_stages.stages(task),
    )
    name = facts.check_camera(request.camera)
    view = {"name": name} if name else VIEWS.get(task, OTHER_VIEW)

    # robosuite's own renderer silently returns noise once an older simulation has been collected.
    def simulation() -> tuple[Any, Any]:
        return env.sim_env.sim.model._model, env.sim_env.sim.data._data

    def frames(_: gymnasium.Env) -> FollowingCamera:
        return FollowingCamera(simulation, request.width, request.height, view, hidden_groups=(0,))

    def observer(name: str, width: int, height: int) -> FollowingCamera:
        return FollowingCamera(simulation, width, height, {"name": name}, hidden_groups=(0,))

    camera = frames if request.render else None
    stages = robosuite_stages.stage_reader(task)
    return UniformEnv(TimeLimit(env, horizon), facts, _success, camera, observer=observer, stages=stages)


def _check_names_stay(env: Any, spec: str) -> None:
    """InputError for a task that draws another object in each episode: robosuite names observations by it."""
    if getattr(env.sim_env, "single_object_mode", 0) != 1:
        return
    env.close()
    raise InputError(
        f"{spec}: it draws another object in each episode, and its observations have other names each time; expected "
        "the same ones. Use a task of one object, such as robosuite:PickPlaceCan or robosuite:NutAssemblySquare."
    )


def _places(shapes: dict[str, tuple[int, ...]]) -> dict[str, Place]:
    """The objects of the task: robosuite observes the position of each under its name."""
    own = [key for key in shapes if key.endswith("_pos") and "_to_" not in key and not key.startswith("robot")]
    return {key.removesuffix("_pos"): Place(key, 0, 3) for key in own if shapes[key] == (3,)}


def _success(env: gymnasium.Env, info: dict[str, Any]) -> bool:
    return bool(info["success"])
