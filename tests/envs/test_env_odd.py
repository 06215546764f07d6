"""What an environment of the user's own may say and draw, and what is said where it cannot be used."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from dtql_robot.envs import make_env
from dtql_robot.envs.rendering.gl import gl_missing
from dtql_robot.errors import InputError, did_you_mean
from tests.envs.odd_envs import FRAMES, PICTURE

SPEC = "tests.envs.odd_envs:OddFlags-v0"
needs_gl = pytest.mark.skipif(gl_missing() is not None, reason=str(gl_missing()))
YES, NO = ("true", "numpy-true", "one", "zero-dim"), ("false", "numpy-zero")


def step(flag: str, key: str = "success", many: bool = False):
    env = make_env(SPEC, env_args={"flag": flag, "key": key})
    with contextlib.closing(env):
        env.reset(seed=0)
        if many:
            return env.get_wrapper_attr("steps")(np.zeros((2, 2)))[2]
        return env.step(np.zeros(2))[4].get("success")


@pytest.mark.parametrize("key", ["success", "is_success"])
@pytest.mark.parametrize(("flag", "expected"), [*((f, True) for f in YES), *((f, False) for f in NO)])
def test_yes_and_no_in_every_form(flag, expected, key):
    assert step(flag, key) is expected
    assert step(flag, key, many=True) == [expected, expected]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("flag", "found"),
    [
        ("nan", "nan"),
        ("numpy-nan", "nan"),
        ("none", "None"),
        ("text", "'False'"),
        ("array", r"an array of shape \(2,\)"),
        ("one-in-array", r"an array of shape \(1,\)"),
        ("list", r"\[\]"),
        ("half", "0.5"),
        ("two", "2"),
    ],
)
def test_anything_else_is_an_error_that_names_the_environment(flag, found, many):
    said = rf"OddFlags-v0 returned info\['success'\] = .*{found}.*; expected True or False"
    with pytest.raises(InputError, match=said):
        step(flag, many=many)


def test_no_flag_at_all_is_no_success():
    assert step("true", key="solved") is None


@needs_gl
@pytest.mark.parametrize(
    "frame", [f for f in FRAMES if f not in ("none", "text", "empty", "empty list", "five channels")]
)
@pytest.mark.parametrize("size", [(80, 60), (320, 320), (64, 128)])
def test_frames_have_the_size_that_was_asked_for(frame, size):
    env = make_env(SPEC, render=True, width=size[0], height=size[1], env_args={"frame": frame})
    with contextlib.closing(env):
        env.reset(seed=0)
        drawn = env.render()
    assert drawn.shape == (size[1], size[0], 3)
    assert drawn.dtype == np.uint8
    if size == (80, 60) and not frame.startswith("grey"):
        assert np.abs(drawn.astype(int) - PICTURE).mean() < 12


@needs_gl
@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        ("none", "returned NoneType"),
        ("text", "returned str"),
        ("empty", r"returned an array of shape \(0, 0, 3\)"),
        ("empty list", "returned list"),
        ("five channels", r"shape \(60, 80, 5\)"),
        ("raises", "its own render failed: OSError: no window"),
    ],
)
def test_what_is_no_picture_is_said(frame, sentence):
    env = make_env(SPEC, render=True, env_args={"frame": frame})
    with contextlib.closing(env):
        env.reset(seed=0)
        with pytest.raises(InputError, match=sentence):
            env.render()


@pytest.mark.parametrize(
    ("spec", "env_args", "sentence"),
    [
        (SPEC, {"frame": "broken"}, r"cannot be made with arguments .*RuntimeError: boom in init"),
        ("Ant-v5", {"xml_file": "/nope.xml"}, r"Ant-v5: the environment cannot be made with arguments .*nope\.xml"),
        ("no_such_module.at_all:X-v0", {}, "package 'no_such_module' is missing"),
        ("tests.envs.odd_envs:Oddd-v0", {}, "Did you mean OddFlags-v0|is not known"),
        (":", {}, ": the environment cannot be made"),
        ("a:b:c", {}, "cannot be made|missing"),
        ("FetchReach-v4", {"max_episode_steps": 5, "reward_type": 3, "wings": 2}, "wings"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(spec, env_args, sentence):
    with pytest.raises(InputError, match=sentence):
        make_env(spec, env_args=env_args)


@pytest.mark.parametrize("steps", [0, -3, 10**12])
def test_a_time_limit_that_is_none(steps):
    with pytest.raises(InputError, match=f"max_episode_steps must be at .* found {steps}"):
        make_env("FetchReach-v4", max_episode_steps=steps)


def test_the_closest_names():
    known = ["Lift", "Stack", "NutAssembly"]
    assert did_you_mean("lift", known) == "Did you mean Lift?"
    assert did_you_mean("Stak", known, n=1) == "Did you mean Stack?"
    assert did_you_mean("Door", known, otherwise="There are three.") == "There are three."
    assert did_you_mean("Door", known) == ""
