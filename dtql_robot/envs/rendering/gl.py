"""Choosing how MuJoCo draws on a machine without a display.

MuJoCo reads the environment variable MUJOCO_GL once, while it is imported, so the choice has to be made before that.
Physics never needs OpenGL; only `require_gl` (called when a frame is wanted) insists on it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

from dtql_robot.errors import InputError

APT_LINE = "sudo apt-get install -y libegl1 libgl1"
APT_LINE_OSMESA = "sudo apt-get install -y libosmesa6"
BACKENDS = ("egl", "osmesa", "glfw")


def _loads(*names: str) -> bool:
    """True if one of the shared libraries can be loaded."""
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


@functools.cache
def _usable(backend: str) -> bool:
    """Whether the libraries behind a backend are installed."""
    if backend == "egl":
        return _loads("libEGL.so.1", "libEGL.so") and _loads("libOpenGL.so.0", "libGL.so.1", "libGL.so")
    if backend == "osmesa":
        return _loads("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")
    return backend == "glfw"


def _detect() -> str | None:
    """The backend this machine can draw with; None if there is none."""
    if not sys.platform.startswith("linux"):
        return "glfw"  # macOS and Windows always have their own OpenGL
    for backend in ("egl", "osmesa"):
        if _usable(backend):
            return backend
    return "glfw" if os.environ.get("DISPLAY") else None


def prepare_gl() -> str | None:
    """Set MUJOCO_GL if it is unset and a backend is found, and return the backend in force (None: cannot draw).

    A value the user has set is left alone, except that one whose library is missing is an error, because MuJoCo would
    otherwise fail inside its own import with an unrelated message.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if chosen in {"disable", "disabled", "off", "false", "0"}:
        return None
    if chosen in {"egl", "osmesa"} and not _usable(chosen):
        apt = APT_LINE if chosen == "egl" else APT_LINE_OSMESA
        raise InputError(
            f"MUJOCO_GL is set to {chosen!r}, but its library is not installed: run `{apt}`, or unset MUJOCO_GL."
        )
    if chosen:
        return chosen if chosen in BACKENDS else "glfw"
    backend = _detect()
    if backend in {"egl", "osmesa"}:
        os.environ["MUJOCO_GL"] = backend
    return backend


def gl_missing() -> str | None:
    """The sentence that says why frames cannot be drawn on this machine; None where they can."""
    try:
        backend = prepare_gl()
    except InputError as error:
        return str(error)
    if backend is not None:
        return None
    if os.environ.get("MUJOCO_GL"):
        return f"Drawing is switched off by MUJOCO_GL={os.environ['MUJOCO_GL']}: unset it to get frames."
    return (
        "Drawing frames needs an OpenGL library and none was found: "
        f"run `{APT_LINE}` (or `{APT_LINE_OSMESA}`). Training and evaluation work without it."
    )


def require_gl() -> str:
    """The backend to draw with; InputError with the apt line where there is none."""
    missing = gl_missing()
    if missing is not None:
        raise InputError(missing)
    backend = prepare_gl()
    assert backend is not None
    return backend
