"""Environments with a Gymnasium id: Fetch, Adroit, FrankaKitchen and any other that is installed."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium

from dtql_robot.env_record import recorded_kwargs, success_rule
from dtql_robot.envs.families.id_errors import missing_module, unknown_id
from dtql_robot.envs.families.plugin_tasks import function_behind, make_by
from dtql_robot.envs.info import EnvInfo
from dtql_robot.envs.measure import Measure, Place, goal_places
from dtql_robot.envs.rendering.own_render import OwnFrames
from dtql_robot.envs.success import read_subtasks, read_success
from dtql_robot.envs.wrapper import UniformEnv, box_action_dim, flat_space
from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.envs.make import EnvRequest

# Where the camera stands, by the beginning of the id, the first that fits: the whole space that the hand reaches is in
# view.  Others get the model's default view.
VIEWS: dict[str, dict[str, Any]] = {
    "FetchSlide": {"lookat": (1.45, 0.75, 0.45), "distance": 1.9, "azimuth": 140.0, "elevation": -25.0},
    "Fetch": {"lookat": (1.28, 0.75, 0.60), "distance": 1.55, "azimuth": 140.0, "elevation": -22.0},
    "AdroitHandDoor": {"lookat": (0.0, 0.05, 0.25), "distance": 1.35, "azimuth": 75.0, "elevation": -25.0},
    "AdroitHand": {"lookat": (0.0, -0.1, 0.17), "distance": 1.25, "azimuth": 65.0, "elevation": -35.0},
    **{
        key: {"name": "track"} for key in ("HalfCheetah-v", "Hopper-v", "Walker2d-v")
    },  # the model's own, which runs along
    "FrankaKitchen": {"lookat": (-0.2, 0.5, 2.0), "distance": 2.2, "azimuth": 70.0, "elevation": -35.0},
}
# Cameras for image observations that the models lack, by the beginning of the id.  Fetch: the table from its far side,
# and the fingers, moving along with them (the model's own gripper camera looks at the inside of the hand).
OWN_CAMERAS: dict[str, dict[str, dict[str, Any]]] = {
    "Fetch": {
        "front": {"lookat": (1.32, 0.75, 0.45), "distance": 0.72, "azimuth": 180.0, "elevation": -45.0},
        "wrist": {
            "site": "robot0:grip",
            "lookat": (0.0, 0.0, -0.05),
            "distance": 0.36,
            "azimuth": 180.0,
            "elevation": -50.0,
        },
    }
}


def register_robotics() -> None:
    """Make the Gymnasium-Robotics ids known if the package is installed (it prints a notice when imported)."""
    with contextlib.suppress(ImportError), contextlib.redirect_stderr(io.StringIO()):
        import gymnasium_robotics

        gymnasium.register_envs(gymnasium_robotics)


def build(env_id: str, kwargs: dict[str, Any]) -> gymnasium.Env:
    """gymnasium.make with every failure turned into an InputError: environment and arguments are the user's."""
    errors = gymnasium.error
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except (errors.NameNotFound, errors.VersionNotFound, errors.NamespaceNotFound, errors.DeprecatedEnv):
        raise unknown_id(env_id) from None
    except errors.DependencyNotInstalled as error:
        if "mujoco_py" in str(error):
            raise unknown_id(env_id) from None
        raise InputError(f"{env_id}: a package is missing ({error}).") from error
    except ModuleNotFoundError as error:
        raise missing_module(env_id, error) from error
    except Exception as error:  # an environment may raise anything while it is made
        reason = f"{type(error).__name__}: {error}"
        arguments = f" with arguments {kwargs}" if kwargs else ""
        raise InputError(f"{env_id}: the environment cannot be made{arguments}: {reason}.") from error


def _places(env_id: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Place]:
    """Where an episode starts, as far as it is known how to read it."""
    if env_id.startswith("AdroitHandDoor"):
        return {"handle": Place("observation", 32, 35)}
    moved = "gripper" if env_id.startswith("FetchReach") else "object" if env_id.startswith("Fetch") else "robot"
    return goal_places(shapes, moved)


def _measure(env: gymnasium.Env, env_id: str, places: dict[str, Place]) -> Measure | None:
    """What the environment itself compares with a threshold."""
    if env_id.startswith("AdroitHandDoor"):
        return Measure("door angle", (Place("observation", 28, 29),), 1.35, below=False, unit="rad")
    if env_id.startswith("AdroitHandRelocate"):
        return Measure("ball to target", (Place("observation", 36, 39),), 0.1)
    if "goal" not in places:
        return None
    threshold = getattr(env.unwrapped, "distance_threshold", None)
    maze = "Maze" in env_id
    return Measure("distance to goal", tuple(places.values()), 0.45 if maze else threshold)


def _fetch_scene(sim: Any, show_goal: bool) -> Callable[[], None]:
    """Prepare a Fetch scene for drawing; returns what puts the goal marker in its place before each frame.

    An observation does not show the goal: a robot's camera would not see a marker that floats in the air.

    Both touch what is drawn only: the goal is a site that the environment itself moves in its own `render`, and the
    mocap body is drawn as a cross of long translucent bars.
    """
    goal_site = sim.model.site("target0").id
    mocap_geoms = sim.model.body_mocapid[sim.model.geom_bodyid] >= 0
    sim.model.geom_rgba[mocap_geoms, 3] = 0.0

    def place_goal() -> None:
        sim.data.site_xpos[goal_site] = sim.goal if show_goal else (0.0, 0.0, -10.0)

    return place_goal


def _camera_names(env: gymnasium.Env) -> tuple[str, ...]:
    model: Any = getattr(env.unwrapped, "model", None)
    return tuple(model.camera(i).name for i in range(model.ncam)) if hasattr(model, "ncam") else ()


def own_cameras(env_id: str) -> dict[str, dict[str, Any]]:
    """Camera -> view, of those that this package adds to an environment."""
    return next((views for prefix, views in OWN_CAMERAS.items() if env_id.startswith(prefix)), {})


def _camera_maker(
    env_id: str, width: int, height: int, name: str | None, show_goal: bool = True
) -> Callable[[gymnasium.Env], Any]:
    def make_camera(env: gymnasium.Env) -> Any:
        sim: Any = env.unwrapped
        if not (hasattr(sim, "model") and hasattr(sim, "data")):
            return OwnFrames(env, env_id, width, height)
        from dtql_robot.envs.rendering.camera import Camera

        usual = next((v for prefix, v in VIEWS.items() if env_id.startswith(prefix)), {})
        usual = usual if usual.get("name") in (None, *_camera_names(env)) else {}  # the model may be the user's
        view = own_cameras(env_id).get(name, {"name": name}) if name else usual
        before = _fetch_scene(sim, show_goal) if env_id.startswith("Fetch") else None
        return Camera(sim.model, sim.data, width, height, view, before)

    return make_camera


def make(task: str, request: EnvRequest) -> gymnasium.Env:
    """The environment with this Gymnasium id, or of the function that "module:function" names."""
    if ":" in task:
        function = function_behind(task)
        if function is not None:
            return make_by(function, request)
    kwargs, limit = recorded_kwargs(request.env_args)
    limit = request.max_episode_steps or limit
    if limit is not None:
        kwargs["max_episode_steps"] = int(limit)
    if request.render:
        kwargs["render_mode"] = "rgb_array"
    register_robotics()
    env = build(task, kwargs)
    action_dim = box_action_dim(env, task)
    kitchen = task.startswith("FrankaKitchen")
    shapes = {key: box.shape for key, box in flat_space(env.observation_space, task).items()}
    places = _places(task, shapes)
    facts = EnvInfo(
        spec=request.spec,
        horizon=env.spec.max_episode_steps if env.spec else None,
        success_rule=success_rule(task),
        fps=int(env.metadata.get("render_fps") or 25),
        action_dim=action_dim,
        obs_shapes=shapes,
        cameras=(*_camera_names(env), *own_cameras(task)),
        camera_views=own_cameras(task),
        subtasks=tuple(sorted(env.unwrapped.goal)) if kitchen else (),  # type: ignore[attr-defined]
        places=places,
        measure=_measure(env, task, places),
    )
    name = facts.check_camera(request.camera)
    camera = _camera_maker(task, request.width, request.height, name) if request.render else None

    def observer(name: str, width: int, height: int) -> Any:
        return _camera_maker(task, width, height, name, show_goal=False)(env)

    return UniformEnv(env, facts, read_success, camera, read_subtasks if kitchen else None, observer)
