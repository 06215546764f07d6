"""Run a module of this package in a new interpreter: `python -P launch.py [--with=PID] MODULE [arguments]`.

`python -m` puts the working folder first on the path: a numpy.py, or a dtql_robot folder, that lies there by chance or
by somebody's design would be run.  Here nothing of that folder is on the path, and the package is the one that this
file belongs to, wherever the interpreter would look for it.  --with: the process ends with the one of this number.
"""

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # Python 3.10 knows no -P and puts this file's folder there

import os

SAFE = ["-P"] if sys.version_info >= (3, 11) else []


def command(module: str, *, end_with_this: bool = False) -> list[str]:
    """The words that run `module` of this package in a new interpreter; its arguments may follow.

    end_with_this: once this process is gone, however it ended, the new one gets SIGTERM, at which commands save.
    """
    tied = [f"--with={os.getpid()}"] if end_with_this else []
    return [sys.executable, *SAFE, os.path.abspath(__file__), *tied, module]


def safe_environment() -> dict[str, str]:
    """This process's environment for another interpreter.

    PYTHONPATH has no empty entries, which stand for the working folder too.  Interpreters that libraries start in turn
    leave that folder alone from Python 3.11 on.
    """
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    entries = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    environment.pop("PYTHONPATH", None)
    return {**environment, "PYTHONPATH": os.pathsep.join(entries)} if entries else environment


def spin_briefly() -> None:
    """Let threads that wait for others sleep after some ten microseconds; OpenMP reads this when torch is imported.

    By default they spin for milliseconds at the end of every product.  Where other work wants the cores, that keeps
    the very thread from running that is waited for (docs/performance.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _import_this_package() -> None:
    """Make `dtql_robot` the package around this file."""
    import importlib.util

    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = importlib.util.spec_from_file_location(
        "dtql_robot", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dtql_robot"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    spin_briefly()
    _import_this_package()
    from dtql_robot.system.bundled_glfw import name_bundled_glfw

    name_bundled_glfw()
    del sys.argv[0]
    if sys.argv[0].startswith("--with="):
        from dtql_robot.system.parent import end_with

        end_with(int(sys.argv.pop(0).removeprefix("--with=")))
    import runpy

    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
