"""Every value of MUJOCO_GL that cannot work is one sentence, in every command that makes an environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dtql_robot.datasets import save_robomimic
from dtql_robot.envs.collection.collect import collect

WRONG = [
    ({"MUJOCO_GL": "glfw"}, "'glfw', which needs a display, and there is none: unset MUJOCO_GL, or set it to egl."),
    ({"MUJOCO_GL": "GLFW "}, "which needs a display"),
    ({"MUJOCO_GL": "on"}, "'on', which needs a display"),
    ({"MUJOCO_GL": "glfw", "DISPLAY": ":4711"}, "which needs a display"),
    ({"MUJOCO_GL": "gpu"}, "'gpu', which is not one of egl, osmesa, glfw and disabled: unset it"),
    ({"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "egl"}, "PYOPENGL_PLATFORM is set to 'egl'"),
]


def cli(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL")}
    command = [sys.executable, "-m", "dtql_robot", *arguments]
    return subprocess.run(command, env={**clean, **env}, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("env", "sentence"), WRONG)
def test_what_cannot_work_is_one_sentence(env, sentence, tmp_path):
    done = cli(env, "collect", "FetchReach-v4", "--episodes", "1", "--workers", "1", "--out", str(tmp_path / "a.hdf5"))
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["validate", "playback", "train", "collect"])
def test_every_command_says_it(command, tmp_path):
    path = str(save_robomimic(collect("FetchReach-v4", 1, workers=1, progress=False), tmp_path / "reach.hdf5"))
    arguments = {
        "validate": [path],
        "playback": [path],
        "train": ["--data", path, "--out", str(tmp_path / "run"), "--steps", "1"],
        "collect": ["FetchReach-v4", "--episodes", "3", "--workers", "2", "--out", str(tmp_path / "b.hdf5")],
    }
    done = cli({"MUJOCO_GL": "glfw"}, command, *arguments[command])
    assert done.returncode == 2
    assert "unset MUJOCO_GL, or set it to egl" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_drawing_switched_off_leaves_the_physics(tmp_path):
    out = str(tmp_path / "a.hdf5")
    done = cli({"MUJOCO_GL": "Off"}, "collect", "FetchReach-v4", "--episodes", "1", "--workers", "1", "--out", out)
    assert done.returncode == 0
    done = cli({"MUJOCO_GL": "Off"}, "playback", out, "--video", str(tmp_path / "v.mp4"))
    assert done.returncode == 2
    assert "switched off by MUJOCO_GL=Off: unset it" in done.stderr
