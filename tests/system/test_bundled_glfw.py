"""Importing glfw, which mujoco does, starts no interpreters, and the user's choice of a library holds."""

import contextlib
import os
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from dtql_robot.system.workers import Worker

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glfw's wheel for Linux")

IMPORT = """
import sys
started = []
sys.addaudithook(lambda event, _: started.append(event) if event == "subprocess.Popen" else None)
from dtql_robot.system.bundled_glfw import name_bundled_glfw
name_bundled_glfw()
import os
try:
    import glfw
except ImportError:  # the library cannot be loaded
    glfw = None
print(len(started), glfw is not None, os.environ["PYGLFW_LIBRARY"])
"""
LIBRARY = os.path.join(os.path.dirname(find_spec("glfw").origin), "{}", "libglfw.so")


def imported(**given):
    environment = {k: v for k, v in os.environ.items() if "GLFW" not in k and k != "XDG_SESSION_TYPE"} | given
    done = subprocess.run([sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("given", "variant"),
    [({}, "x11"), ({"XDG_SESSION_TYPE": "wayland"}, "wayland"), ({"PYGLFW_LIBRARY_VARIANT": "wayland"}, "wayland")],
)
def test_glfw_is_imported_without_an_interpreter_that_looks_for_its_library(given, variant):
    assert imported(**given) == ["0", "True", LIBRARY.format(variant)]


def test_a_library_that_the_user_names_is_kept():
    assert imported(PYGLFW_LIBRARY="/nowhere.so") == ["0", "False", "/nowhere.so"]


def test_a_command_says_it():
    code = "import os; from dtql_robot.cli import main; main(); print(os.environ['PYGLFW_LIBRARY'])"
    environment = {k: v for k, v in os.environ.items() if k != "PYGLFW_LIBRARY"}
    words = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == LIBRARY.format("x11")


def test_a_worker_says_it(monkeypatch):
    monkeypatch.delenv("PYGLFW_LIBRARY", raising=False)
    with contextlib.closing(Worker("os:getenv", "PYGLFW_LIBRARY")) as worker:
        worker.send("strip")
        assert worker.recv(time.monotonic() + 60) == LIBRARY.format("x11")
