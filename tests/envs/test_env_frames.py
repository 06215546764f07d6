import numpy as np
import pytest

from dtql_robot.envs import make_env
from dtql_robot.envs.rendering import gl
from dtql_robot.envs.rendering.camera import check_frame
from dtql_robot.errors import InputError


def test_a_blank_frame_and_a_noise_frame_are_refused():
    rng = np.random.default_rng(0)
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (64, 64, 3))
    check_frame(ramp)
    with pytest.raises(ValueError, match="blank"):
        check_frame(np.full((64, 64, 3), 90, np.uint8))
    with pytest.raises(ValueError, match="noise"):
        check_frame(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"expected a frame of shape \(H, W, 3\)"):
        check_frame(np.zeros((3, 64, 64), np.float32))


@pytest.mark.gl
@pytest.mark.parametrize("spec", ["FetchPickAndPlace-v4", "AdroitHandDoor-v1"])
def test_frames_show_something_that_moves(spec):
    env = make_env(spec, render=True, width=128, height=96)
    env.reset(seed=0)
    first = env.render()
    for _ in range(8):
        env.step(env.action_space.high)
    second = env.render()
    env.close()
    for frame in (first, second):
        assert frame.shape == (96, 128, 3)
        check_frame(frame)
    assert (np.abs(first.astype(int) - second).max(axis=2) > 30).mean() > 0.005


@pytest.mark.gl
def test_the_goal_of_fetch_is_drawn_in_red():
    env = make_env("FetchPush-v4", render=True, width=320, height=320)
    env.reset(seed=7)
    red, green, blue = np.moveaxis(env.render().astype(int), 2, 0)
    env.close()
    assert ((red > 150) & (green < 60) & (blue < 60)).sum() > 40


@pytest.mark.gl
def test_filming_does_not_change_the_physics():
    traces = []
    for render in (False, True):
        env = make_env("FetchPickAndPlace-v4", render=render, width=64, height=64)
        rng = np.random.default_rng(1)
        env.reset(seed=11)
        trace = []
        for _ in range(20):
            if render:
                env.render()
            trace.append(env.step(rng.uniform(-1, 1, 4))[0]["observation"])
        traces.append(np.stack(trace))
        env.close()
    assert np.array_equal(*traces)


def test_an_environment_made_without_frames_says_so():
    env = make_env("FetchReach-v4")
    with pytest.raises(InputError, match="render=True"):
        env.render()
    env.close()


class TestBackend:
    @pytest.fixture(autouse=True)
    def linux_without_display(self, monkeypatch):
        monkeypatch.delenv("MUJOCO_GL", raising=False)
        monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.setattr(gl.sys, "platform", "linux")

    def installed(self, monkeypatch, *backends):
        monkeypatch.setattr(gl, "_usable", lambda backend: backend in backends)

    @pytest.mark.parametrize(("installed", "chosen"), [(("egl", "osmesa"), "egl"), (("osmesa",), "osmesa")])
    def test_the_first_installed_backend_is_chosen(self, monkeypatch, installed, chosen):
        self.installed(monkeypatch, *installed)
        assert gl.require_gl() == chosen
        assert gl.os.environ["MUJOCO_GL"] == chosen
        gl.os.environ.pop("MUJOCO_GL")

    def test_without_libraries_the_remedy_is_the_apt_line_and_physics_still_runs(self, monkeypatch):
        self.installed(monkeypatch)
        with pytest.raises(InputError, match="sudo apt-get install -y libegl1 libgl1"):
            make_env("FetchReach-v4", render=True)
        env = make_env("FetchReach-v4")
        env.reset(seed=0)
        assert env.step(np.zeros(4))[4]["success"] in (True, False)
        env.close()
        assert "MUJOCO_GL" not in gl.os.environ

    def test_a_backend_asked_for_and_not_installed_is_an_error(self, monkeypatch):
        self.installed(monkeypatch, "egl")
        monkeypatch.setenv("MUJOCO_GL", "osmesa")
        with pytest.raises(InputError, match=r"MUJOCO_GL is set to 'osmesa'.*libosmesa6"):
            gl.prepare_gl()

    def test_the_users_choice_is_kept(self, monkeypatch):
        self.installed(monkeypatch, "egl", "osmesa")
        monkeypatch.setenv("MUJOCO_GL", "osmesa")
        assert gl.prepare_gl() == "osmesa"

    def test_drawing_can_be_switched_off(self, monkeypatch):
        monkeypatch.setenv("MUJOCO_GL", "disabled")
        assert "switched off" in gl.gl_missing()
