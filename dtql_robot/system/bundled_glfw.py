"""Which library the package glfw loads, said before anything imports it.

Left to itself, it tries each candidate in an interpreter of its own at every import.  Those cost time, look into the
working folder (Python 3.10), and leave a traceback in the output if this process is killed meanwhile.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

VARIABLE = "PYGLFW_LIBRARY"


def name_bundled_glfw() -> None:
    """Set PYGLFW_LIBRARY to the library that glfw's wheel brings for Linux, unless the user has set it."""
    if not sys.platform.startswith("linux") or os.environ.get(VARIABLE):
        return
    found = find_spec("glfw")
    if found is None or found.origin is None:
        return
    library = os.path.join(os.path.dirname(found.origin), _variant(), "libglfw.so")
    if os.path.isfile(library):
        os.environ[VARIABLE] = library


def _variant() -> str:
    """The folder that glfw itself would look into first."""
    asked = os.environ.get("PYGLFW_LIBRARY_VARIANT", "").lower()
    if asked in ("wayland", "x11"):
        return asked
    return "wayland" if os.environ.get("XDG_SESSION_TYPE") == "wayland" else "x11"
