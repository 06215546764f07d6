"""No file that happens to lie in the user's folder is run, and no worker outlives who started it."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dtql_robot
from dtql_robot.system import user_modules
from dtql_robot.system.launch import SAFE, command, safe_environment
from dtql_robot.system.workers import Worker

ROOT = str(Path(dtql_robot.__file__).parents[1])
HOSTILE = "import os\nopen(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'ran'), 'w').close()\n"
LIBRARIES = ("numpy", "gymnasium", "gymnasium_robotics", "mujoco", "tqdm", "torch", "h5py")
STANDARD = ("json", "typing", "pickle", "types", "runpy", "struct", "ctypes", "site", "sitecustomize", "usercustomize")


@pytest.fixture
def hostile(tmp_path):
    """A folder with modules that tell when they are run."""
    for name in (*LIBRARIES, *STANDARD, "hdf5plugin", "not_installed_either"):
        (tmp_path / f"{name}.py").write_text(HOSTILE)
    for package in ("dtql_robot", "dtql_robot/system", "dtql_robot/envs", "yaml"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(HOSTILE.replace("'ran'", "'ran_package'"))
    return tmp_path


def traces(folder):
    return [str(path) for path in folder.rglob("ran*")]


def run(words, folder, **environment):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_command_and_its_workers_run_nothing_of_the_working_folder(hostile, workers):
    """Nor do the interpreters that libraries start."""
    done = run([*command("dtql_robot"), "collect", "FetchReach-v4", "--episodes", "2", "--workers", workers, "--out",
                "demos.hdf5"], hostile)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (hostile / "demos.hdf5").exists()
    assert traces(hostile) == []


@pytest.mark.parametrize("path", [None, "", ":", f"{ROOT}:", f":{ROOT}"])
def test_an_empty_entry_of_pythonpath_is_not_the_working_folder_for_workers(hostile, path, monkeypatch):
    """As `export PYTHONPATH=$PYTHONPATH:/somewhere` makes one."""
    monkeypatch.chdir(hostile)
    monkeypatch.delenv("PYTHONPATH", raising=False) if path is None else monkeypatch.setenv("PYTHONPATH", path)
    with contextlib.closing(Worker("builtins:dict")) as worker:
        worker.send("keys")
        with contextlib.suppress(RuntimeError):
            worker.recv(time.monotonic() + 60)
    assert traces(hostile) == []
    assert "" not in safe_environment().get("PYTHONPATH", "x").split(os.pathsep)


@pytest.mark.skipif(not SAFE, reason="Python 3.10 itself imports from the working folder before the package can")
def test_python_dash_m_lets_go_of_the_working_folder(tmp_path):
    """Libraries there are not imported.  What shadows Python's own modules or this package Python imports before us."""
    for name in LIBRARIES:
        (tmp_path / f"{name}.py").write_text(HOSTILE)
    done = run([sys.executable, "-m", "dtql_robot", "inspect", "nothing.hdf5"], tmp_path, PYTHONPATH=ROOT)
    assert done.returncode == 2, done.stderr
    assert traces(tmp_path) == []


SHOWS = """
import sys
from dtql_robot.system.workers import Worker
sys.path.insert(0, "added")
worker = Worker("shown:Shown")
worker.send("paths")
print(*worker.recv(), sep="\\n")
"""


def test_workers_find_what_their_caller_does_but_last(hostile):
    """A module beside the user's script, on PYTHONPATH, and in a folder that the script added."""
    (hostile / "added").mkdir()
    (hostile / "mine").mkdir()
    (hostile / "added" / "added_module.py").write_text("")
    (hostile / "mine" / "path_module.py").write_text("")
    (hostile / "mine" / "numpy.py").write_text("raise ImportError('shadowed, as the user of PYTHONPATH asked for')")
    shown = (
        "class Shown:\n    def paths(self):\n        import added_module, path_module, sys\n        return sys.path\n"
    )
    (hostile / "added" / "shown.py").write_text(shown)
    (hostile / "script.py").write_text(SHOWS)
    done = run([sys.executable, *SAFE, "script.py"], hostile, PYTHONPATH=f"mine:{ROOT}")
    assert done.returncode == 0, done.stderr
    paths = done.stdout.splitlines()
    assert paths[-1] == str(hostile / "added") or paths.index(str(hostile / "added")) > paths.index(ROOT)
    assert traces(hostile) == []


def test_a_module_is_looked_for_in_the_working_folder_only_where_it_is_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p and p != str(tmp_path)])
    before = list(sys.path)
    for name in ("my_env", "numpy", "robosuite"):
        (tmp_path / f"{name}.py").write_text("")
    for arguments in (
        ["run", "--env", "FetchReach-v4"],
        ["run"],
        ["--env"],
        ["--env", "numpy:Env-v0"],
        ["--env", "robosuite:Lift"],
        ["--env=absent:Env-v0"],
        ["my_env:Env-v0"],
    ):
        user_modules.trust_named_module(arguments, lambda: ("robosuite",))
        assert sys.path == before
    user_modules.trust_named_module(["run", "--env=my_env:Env-v0+state=a,b"], lambda: ("robosuite",))
    assert sys.path == [*before, str(tmp_path)]


STARTS = """
import threading, sys, time
from dtql_robot.system.workers import Worker
def start():
    worker = Worker("threading:Event")
    worker.send("wait")
    print(worker.pid, flush=True)
    time.sleep(60)
thread = threading.Thread(target=start)
start() if sys.argv[1] == "main" else thread.start()
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(("thread", "seconds"), [("main", 2.0), ("other", 12.0)])
def test_a_busy_worker_ends_when_its_caller_is_killed(thread, seconds):
    """The signal that nobody can tidy up after.  Started in a thread it must not end with that thread, only later."""
    caller = subprocess.Popen([sys.executable, "-c", STARTS, thread], stdout=subprocess.PIPE, text=True)
    pid = int(caller.stdout.readline())
    time.sleep(0.5)
    assert is_running(pid)
    caller.kill()
    caller.wait()
    caller.stdout.close()
    end = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(pid)


def test_a_worker_started_in_a_thread_outlives_the_thread():
    import threading

    started = []
    thread = threading.Thread(target=lambda: started.append(Worker("collections:Counter", "aab")))
    thread.start()
    thread.join()
    with contextlib.closing(started[0]) as worker:
        time.sleep(0.3)
        worker.send("most_common", 1)
        assert worker.recv(time.monotonic() + 60) == [("a", 2)]
