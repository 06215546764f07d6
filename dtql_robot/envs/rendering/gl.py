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
WINDOWED = {"", "glfw", "glx", "enable", "enabled", "on", "true", "1", "wgl", "cgl"}
"""Values of MUJOCO_GL that mean OpenGL with a window, which is GLFW's."""
OFF = {"disable", "disabled", "off", "false", "0"}


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
    return backend == "glfw" and _has_display(os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY"))


@functools.cache
def _has_display(x11: str | None, wayland: str | None) -> bool:
    """Whether there is a screen to open windows on: Linux has one where a display server answers."""
    if not sys.platform.startswith("linux") or wayland:
        return True
    if not x11:
        return False
    try:
        client = ctypes.CDLL("libX11.so.6")
    except OSError:
        return True  # GLFW brings its own way; let it try
    client.XOpenDisplay.restype, client.XOpenDisplay.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    client.XCloseDisplay.argtypes = [ctypes.c_void_p]
    display = client.XOpenDisplay(x11.encode())
    if display:
        client.XCloseDisplay(display)
    return bool(display)


def _detect() -> str | None:
    """The backend this machine can draw with; None if there is none."""
    if not sys.platform.startswith("linux"):
        return "glfw"  # macOS and Windows always have their own OpenGL
    for backend in ("egl", "osmesa", "glfw"):
        if _usable(backend) and _other_platform(backend) is None:
            return backend
    return None


def _other_platform(backend: str) -> str | None:
    """PYOPENGL_PLATFORM where it names another backend, which MuJoCo then refuses to import."""
    platform = os.environ.get("PYOPENGL_PLATFORM", "")
    return platform if platform and platform.lower() != backend and backend in {"egl", "osmesa"} else None


def prepare_gl() -> str | None:
    """Set MUJOCO_GL if it is unset and a backend is found, and return the backend in force (None: cannot draw).

    A value that the user has set is left alone, except that one that cannot work is an InputError: MuJoCo would fail
    inside its own import with an unrelated message.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if chosen in OFF:
        return None
    if not chosen:
        backend = _detect()
        if backend in {"egl", "osmesa"}:
            os.environ["MUJOCO_GL"] = backend
        return backend
    backend = "glfw" if chosen in WINDOWED else chosen
    problem = _problem(backend)
    if problem is not None:
        raise InputError(f"MUJOCO_GL is set to {os.environ['MUJOCO_GL']!r}, {problem}")
    return backend


def _problem(backend: str) -> str | None:
    """Why a backend that the user has chosen cannot work, and the remedy: the end of a sentence.  None where it can."""
    if backend not in {"egl", "osmesa", "glfw"}:
        return "which is not one of egl, osmesa, glfw and disabled: unset it, or set one of these."
    if backend != "glfw" and not sys.platform.startswith("linux"):
        return f"which exists on Linux only; this is {sys.platform}: unset it."
    other = _other_platform(backend)
    if other is not None:
        return f"but PYOPENGL_PLATFORM is set to {other!r}: unset PYOPENGL_PLATFORM."
    if _usable(backend):
        return None
    if backend == "glfw":
        return "which needs a display, and there is none: unset MUJOCO_GL, or set it to egl."
    apt = APT_LINE if backend == "egl" else APT_LINE_OSMESA
    return f"but its library is not installed: run `{apt}`, or unset MUJOCO_GL."


def gl_missing() -> str | None:
    """The sentence that says why frames cannot be drawn on this machine; None where they can."""
    try:
        backend = prepare_gl()
    except InputError as error:
        return str(error)
    if backend is not None:
        return None
    if os.environ.get("MUJOCO_GL", "").lower().strip() in OFF:
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
