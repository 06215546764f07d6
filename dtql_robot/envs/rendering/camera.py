"""A camera for any MuJoCo environment: fast in software and without effect on the physics.

Drawing reads the simulation and changes nothing in it.  (The environments' own `render` calls `mj_forward`, which
touches the solver's warm start, so an episode that is filmed could differ from one that is not.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dtql_robot.envs.rendering.gl import APT_LINE_OSMESA, require_gl
from dtql_robot.errors import InputError
from dtql_robot.types import Frame


def check_frame(frame: Frame) -> None:
    """ValueError unless `frame` looks like a picture: (H, W, 3) uint8, neither blank nor noise.

    A picture has contrast (blank and half-initialised buffers have none), and its neighbouring pixels agree far better
    than shuffled ones would (in uninitialised memory they do not).
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"expected a frame of shape (H, W, 3) and type uint8, got {frame.shape} {frame.dtype}")
    grey = frame.astype(np.float32).mean(axis=2)
    spread = float(grey.std())
    if spread < 2.0:
        raise ValueError(f"the frame is blank (standard deviation of brightness {spread:.2f} of 255)")
    rough = float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2
    if rough > 0.5 * spread:
        raise ValueError(f"the frame is noise (neighbouring pixels differ by {rough:.1f}, all pixels by {spread:.1f})")


def _gl_context(backend: str, width: int, height: int) -> Any:
    """An OpenGL context of the backend, whatever MUJOCO_GL was when mujoco was imported.

    InputError where the backend's library is there but gives none: no usable graphics device, or no display.
    """
    try:
        if backend == "egl":
            from mujoco.egl import GLContext
        elif backend == "osmesa":
            from mujoco.osmesa import GLContext
        else:
            from mujoco.glfw import GLContext
        return GLContext(width, height)
    except Exception as error:  # the three libraries raise errors of their own, or whatever ctypes does
        raise InputError(
            f"Frames of {width}x{height} pixels cannot be drawn with {backend} ({type(error).__name__}: "
            f"{error}). Set MUJOCO_GL to osmesa (`{APT_LINE_OSMESA}`), or draw smaller frames."
        ) from error


class Camera:
    """Draws a MuJoCo model and its data as (height, width, 3) uint8 frames.

    view: attributes of `mujoco.MjvCamera` (lookat, distance, azimuth, elevation) or {"name": <camera of the model>};
    with "site", a site of the model, lookat is relative to it and the camera moves along with it.
    before: called before each frame, for markers that follow the goal; it must not change the physics.
    hidden_groups: groups of geometry that are not drawn (collision shapes, say).
    """

    def __init__(
        self,
        model: Any,
        data: Any,
        width: int,
        height: int,
        view: Mapping[str, Any],
        before: Callable[[], None] | None = None,
        hidden_groups: Sequence[int] = (),
    ) -> None:
        import mujoco

        self._mujoco, self._model, self._data, self._before = mujoco, model, data, before
        model.vis.quality.offsamples = 0  # no multisampling: several times faster in software
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, height)
        self._gl = _gl_context(require_gl(), width, height)
        self._gl.make_current()
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, 2000)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = 0
        self._option = mujoco.MjvOption()
        self._option.geomgroup[list(hidden_groups)] = 0
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._site = model.site(view["site"]).id if "site" in view else None
        self._lookat = np.array(view.get("lookat", (0.0, 0.0, 0.0)))
        self._view = self._make_view(view)

    def _make_view(self, view: Mapping[str, Any]) -> Any:
        camera = self._mujoco.MjvCamera()
        self._mujoco.mjv_defaultFreeCamera(self._model, camera)
        if "name" in view:
            camera.type = self._mujoco.mjtCamera.mjCAMERA_FIXED
            camera.fixedcamid = self._model.camera(view["name"]).id
            return camera
        for key, value in view.items():
            if key == "lookat":
                camera.lookat[:] = value
            elif key in {"distance", "azimuth", "elevation"}:
                setattr(camera, key, value)
        return camera

    def frame(self) -> Frame:
        """The scene as it is now."""
        if self._before is not None:
            self._before()
        mujoco = self._mujoco
        self._gl.make_current()
        if self._site is not None:
            self._view.lookat[:] = self._data.site_xpos[self._site] + self._lookat
        category = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, self._data, self._option, None, self._view, category, self._scene)
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        frame = np.empty((self._viewport.height, self._viewport.width, 3), np.uint8)
        mujoco.mjr_readPixels(frame, None, self._viewport, self._context)
        return np.ascontiguousarray(frame[::-1])

    def close(self) -> None:
        """Free the OpenGL objects.  Safe to call twice."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None


class FollowingCamera:
    """A Camera on whatever simulation is current: made anew when `simulation()` returns another model.

    simulation: returns (model, data).  The rest as for Camera.
    """

    def __init__(
        self,
        simulation: Callable[[], tuple[Any, Any]],
        width: int,
        height: int,
        view: Mapping[str, Any],
        hidden_groups: Sequence[int] = (),
    ) -> None:
        self._simulation, self._size, self._view, self._hidden = simulation, (width, height), view, hidden_groups
        self._camera: Camera | None = None
        self._model: Any = None

    def frame(self) -> Frame:
        """The scene as it is now."""
        model, data = self._simulation()
        if self._camera is None or self._model is not model:
            self.close()
            self._model = model
            self._camera = Camera(model, data, *self._size, self._view, hidden_groups=self._hidden)
        return self._camera.frame()

    def close(self) -> None:
        """Free the OpenGL objects.  Safe to call twice."""
        if self._camera is not None:
            self._camera.close()
            self._camera = self._model = None
