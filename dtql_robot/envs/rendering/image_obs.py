"""Image observations of any environment: cameras of the simulation, drawn at the size that a policy was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dtql_robot.env_record import CAMERA_VIEWS, env_kwargs
from dtql_robot.envs.info import EnvInfo
from dtql_robot.errors import InputError
from dtql_robot.types import Array, ImageObs

SUFFIX = "_image"


def image_key(camera: str) -> str:
    """The observation that a camera's images are: "front" -> "front_image"."""
    return camera + SUFFIX


def camera_of(key: str) -> str:
    """The camera of an image observation; InputError for a key that names none."""
    if not key.endswith(SUFFIX):
        raise InputError(
            f"observation {key!r} is an image, but of which camera is not known: image observations are "
            f"named after theirs, as in 'front{SUFFIX}'. Rename it in the data."
        )
    return key.rpartition("/")[2].removesuffix(SUFFIX)


def square_images(cameras: Sequence[str], size: int) -> ImageObs:
    """One image of size x size pixels from each camera."""
    if not hasattr(size, "__index__") or size < 8:
        raise InputError(f"Images must be at least 8 pixels wide, found {size!r}.")
    return ImageObs({image_key(camera): (size, size, 3) for camera in dict.fromkeys(cameras)})


def camera_record(images: ImageObs, facts: EnvInfo) -> dict[str, Any]:
    """What a data set's env_args tell about its images: robomimic's names, and where our own cameras stand."""
    names = [camera_of(key) for key in images.shapes]
    heights, widths, _ = next(iter(images.shapes.values()))
    views = {name: facts.camera_views[name] for name in names if name in facts.camera_views}
    drawn = {"camera_names": names, "camera_heights": heights, "camera_widths": widths}
    return {"env_kwargs": drawn, CAMERA_VIEWS: json.loads(json.dumps(views))}


def check_images(images: ImageObs, facts: EnvInfo, env_args: Mapping[str, Any]) -> None:
    """InputError where the environment cannot show what the data recorded: no such camera, another size or view."""
    for key, (height, width, channels) in images.shapes.items():
        camera = camera_of(key)
        if camera not in facts.cameras:
            known = ", ".join(facts.cameras) or "none with a name"
            raise InputError(f"observation {key!r} needs a camera {camera!r}; {facts.spec} has {known}.")
        if channels != 3:
            raise InputError(f"observation {key!r} has {channels} channels; {facts.spec} draws colour images (3).")
        recorded = _recorded_size(camera, env_args)
        if recorded is not None and recorded != (height, width):
            raise InputError(
                f"observation {key!r} is {height}x{width} pixels, but the data's record of its cameras "
                f"says {recorded[0]}x{recorded[1]}; use the data's own images."
            )
        view = (env_args.get(CAMERA_VIEWS) or {}).get(camera)
        if view is not None and view != json.loads(json.dumps(facts.camera_views.get(camera))):
            raise InputError(
                f"camera {camera!r} of {facts.spec} stood elsewhere when the data was recorded ({view}); "
                "use the version of this package that recorded it, or record it again."
            )


def _recorded_size(camera: str, env_args: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) that robomimic's record gives for a camera; one number may stand for all cameras."""
    kwargs = env_kwargs(env_args)
    names = kwargs.get("camera_names") or []
    names = [names] if isinstance(names, str) else names
    sizes: list[Any] = [kwargs.get("camera_heights"), kwargs.get("camera_widths")]
    if camera not in names or None in sizes:
        return None
    height, width = (s[list(names).index(camera)] if isinstance(s, (list, tuple)) else s for s in sizes)
    return int(height), int(width)


class ImageObsEnv(gymnasium.Wrapper):
    """The environment with image observations: (H, W, 3) uint8, or (frames, H, W, 3) where several are asked for."""

    def __init__(self, env: gymnasium.Env, images: ImageObs, env_args: Mapping[str, Any]) -> None:
        super().__init__(env)
        facts: EnvInfo = env.get_wrapper_attr("facts")
        check_images(images, facts, env_args)
        self.images = images
        self.drawing = True
        """Off: `step` leaves images out, because nobody will look at them ..."""
        self.watched = False
        """... unless somebody does, to film what the policy sees."""
        stack = (images.frames,) if images.frames > 1 else ()
        shapes = {key: (*stack, *shape) for key, shape in images.shapes.items()}
        self.facts = replace(facts, obs_shapes={**facts.obs_shapes, **shapes})
        boxes = {key: spaces.Box(0, 255, shape, np.uint8) for key, shape in shapes.items()}
        assert isinstance(env.observation_space, spaces.Dict)
        self.observation_space = spaces.Dict({**env.observation_space.spaces, **boxes})
        self._cameras: dict[str, Any] = {}
        self._past: dict[str, list[Array]] = {}

    def _draw(self, key: str) -> Array:
        if key not in self._cameras:
            height, width, _ = self.images.shapes[key]
            self._cameras[key] = self.env.get_wrapper_attr("observer")(camera_of(key), width, height)
        return self._cameras[key].frame()

    def _with_images(self, obs: Mapping[str, Any], first: bool) -> dict[str, Any]:
        """`obs` and the images; at the `first` step of an episode the frame is repeated."""
        frames = self.images.frames
        found = dict(obs)
        for key in self.images.shapes:
            frame = self._draw(key)
            past = [frame] * (frames - 1) if first else self._past[key][1 - frames :] if frames > 1 else []
            self._past[key] = [*past, frame]
            found[key] = np.stack(self._past[key]) if frames > 1 else frame
        return found

    def reset(self, **kwargs: Any) -> tuple[dict, dict]:
        """As the environment's, with the cameras' images among the observations."""
        obs, info = self.env.reset(**kwargs)
        return self._with_images(obs, first=True), info

    def step(self, action: Any) -> tuple[dict, Any, bool, bool, dict]:
        """As the environment's, with the cameras' images among the observations."""
        obs, *rest = self.env.step(action)
        return (self._with_images(obs, first=False) if self.drawing or self.watched else obs, *rest)  # type: ignore[return-value]

    def close(self) -> None:
        """Free the renderers, then the environment."""
        for camera in self._cameras.values():
            camera.close()
        self._cameras = {}
        super().close()


def image_env(env: gymnasium.Env) -> ImageObsEnv | None:
    """The wrapper that draws the image observations of `env`; None where there is none."""
    inner: Any = env
    while isinstance(inner, gymnasium.Wrapper):
        if isinstance(inner, ImageObsEnv):
            return inner
        inner = inner.env
    return None
