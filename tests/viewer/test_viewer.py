"""The page's scene and handles follow the slider, from real files, a real simulator and a real second process."""

import re
import signal
import subprocess
import sys
import urllib.request

import mujoco
import numpy as np
import pytest

from dtql_robot import Demonstrations, Episode, InputError, collect, evaluate
from dtql_robot.cli import main
from dtql_robot.envs.seeding import evaluation_seed
from dtql_robot.eval.subject import Subject

pytest.importorskip("viser", reason="viser is not installed")

from dtql_robot.commands.view import free_port
from dtql_robot.viewer.demonstrations import DemonstrationSource
from dtql_robot.viewer.page import Page
from dtql_robot.viewer.rollouts import RolloutSource
from dtql_robot.viewer.scene import poses, visible_shapes

pytestmark = pytest.mark.simulator

SHAPES = """
<mujoco>
  <asset>
    <texture name="t" type="2d" builtin="flat" rgb1="1 0 0" width="8" height="8"/>
    <material name="red" texture="t"/>
    <mesh name="m" vertex="0 0 0  1 0 0  0 1 0  0 0 1"/>
  </asset>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1"/>
    <geom name="box" type="box" size=".1 .2 .3" pos="1 2 3" rgba="0 1 0 .5"/>
    <geom name="ball" type="sphere" size=".4"/>
    <geom name="egg" type="ellipsoid" size=".1 .2 .3"/>
    <geom name="can" type="cylinder" size=".1 .5"/>
    <geom name="pill" type="capsule" size=".1 .5"/>
    <geom name="hull" type="mesh" mesh="m" material="red"/>
    <geom name="hidden" type="sphere" size="1" group="3"/>
    <geom name="glass" type="sphere" size="1" rgba="1 1 1 0"/>
  </worldbody>
</mujoco>
"""


def test_shapes_have_the_size_colour_and_place_of_the_model():
    model = mujoco.MjModel.from_xml_string(SHAPES)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    shapes = visible_shapes(model)
    found = {shape.name.partition("_")[2]: shape for shape in shapes}
    assert set(found) == {"floor", "box", "ball", "egg", "can", "pill", "hull"}
    for name, half in {
        "box": (0.1, 0.2, 0.3),
        "ball": (0.4,) * 3,
        "egg": (0.1, 0.2, 0.3),
        "can": (0.1, 0.1, 0.5),
        "pill": (0.1, 0.1, 0.6),
    }.items():
        vertices = found[name].vertices
        np.testing.assert_allclose(vertices.max(axis=0), half, rtol=0.03)
        np.testing.assert_allclose(vertices.min(axis=0), -np.array(half), rtol=0.03)
        assert found[name].faces.max() < len(vertices)
    assert (found["box"].color, found["box"].opacity) == ((0, 255, 0), 0.5)
    assert found["hull"].color == (255, 0, 0)
    positions, quaternions = poses(data, shapes)
    np.testing.assert_allclose(positions[list(found).index("box")], [1, 2, 3])
    world = mujoco_vertices(model, data, found["hull"], positions, quaternions, list(found).index("hull"))
    assert {tuple(map(round, vertex)) for vertex in world.tolist()} == {(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)}
    np.testing.assert_allclose(world, world.round(), atol=1e-6)


def mujoco_vertices(model, data, shape, positions, quaternions, row):
    """Where the mesh's corners are: MuJoCo turns meshes to their principal axes, which the pose must undo."""
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, quaternions[row].astype(np.float64))
    return shape.vertices @ rotation.reshape(3, 3).T + positions[row]


@pytest.fixture(scope="module")
def fetch():
    return collect("FetchReach-v4", 2, progress=False)


def opened(source):
    return Page(source, "127.0.0.1", free_port("127.0.0.1", 0))


def test_scrubbing_moves_the_robot_and_the_marker(fetch):
    page = opened(DemonstrationSource(fetch, None))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{page.server.get_port()}/", timeout=20) as answer:
            assert answer.status == 200
            assert b"<html" in answer.read().lower()
        assert len(page.scene) > 20
        recording = page.recording
        moved = {}
        for step in (0, len(recording) - 1):
            page.step.value = step
            for row, (index, handle) in enumerate(page.scene.items()):
                np.testing.assert_allclose(handle.position, recording.positions[step, row], atol=1e-6)
                moved.setdefault(index, []).append(np.array(handle.position))
            for plot, data in page._plots:
                low, high = plot.scales["y"]["range"]  # the browser must not work it out: the marker is mostly gaps
                assert low < min(map(np.min, data[1:]))
                assert high > max(map(np.max, data[1:]))
                assert np.flatnonzero(~np.isnan(plot.data[-1]))[0] in (step, step - 1)
        assert max(np.linalg.norm(last - first) for first, last in moved.values()) > 0.02
        page.episode.value = fetch.episodes[1].name
        assert page.recording.name == fetch.episodes[1].name
        assert int(page.step.value) == 0
        plotted = [plot for plot, _ in page._plots]
        assert len(plotted) == 1 + 2 + 2  # actions, observation of 10 in two parts, two goals
        np.testing.assert_allclose(plotted[0].data[1], fetch.episodes[1].actions[:, 0])
    finally:
        page.close()


@pytest.mark.slow
def test_a_policys_episodes_are_those_of_the_evaluation():
    class Still:
        action_dim, n_action_steps = 4, 10

        def predict(self, obs, rngs):
            return np.zeros((len(rngs), 10, 4), np.float32)

    expected = evaluate(Still(), "FetchReach-v4", episodes=4, seed=3, num_envs=1, progress=False).per_episode
    seeds = [evaluation_seed(3, i) for i in range(4)]
    page = opened(RolloutSource(Subject(Still(), "FetchReach-v4", None), "still", seeds))
    try:
        for i, episode in enumerate(expected):
            page.episode.value = f"episode {i}"
            assert (page.recording.success, len(page.recording)) == (episode.success, episode.length)
            np.testing.assert_array_equal(page.recording.actions, 0)
        assert [episode.seed for episode in expected] == seeds
    finally:
        page.close()


@pytest.mark.slow
def test_an_episode_as_long_as_the_simulator_allows_is_shown():
    """Meta-World steps 500 times and never once more."""
    pytest.importorskip("metaworld", reason="metaworld is not installed")
    source = DemonstrationSource(collect("metaworld:drawer-close-v3", 1, workers=1, progress=False), None)
    try:
        recording = source.recording(0)
        assert source.why_no_scene is None
        assert len(recording) == len(recording.positions) == 500
        assert np.ptp(recording.positions, axis=0).max() > 0.1
    finally:
        source.close()


def test_without_a_simulator_the_cameras_are_shown():
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(6, 20, 30, 3), dtype=np.uint8)
    episode = Episode(
        "demo_0",
        {"front_image": images, "state": rng.normal(size=(6, 3))},
        None,
        np.zeros((6, 2), np.float32),
        np.zeros(6, np.float32),
        False,
        True,
    )
    source = DemonstrationSource(Demonstrations((episode,), "photos", "arrays"), None)
    page = opened(source)
    try:
        assert page.scene == {}
        assert "names no environment" in page.about.content
        page.step.value = 4
        np.testing.assert_array_equal(page._images["front_image"].image, images[4])
    finally:
        page.close()


@pytest.mark.slow
def test_the_command_serves_a_robosuite_file_until_it_is_stopped(real_data):
    pytest.importorskip("robosuite", reason="robosuite is not installed")
    file = real_data / "robosuite_lift_v140" / "demo.hdf5"
    command = [sys.executable, "-m", "dtql_robot", "view", str(file), "--port", "0", "--episodes", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        address = re.search(r"http://[\d.:]+", line)
        assert address, line + process.stderr.read()
        with urllib.request.urlopen(address[0], timeout=20) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in errors) == (0, False)
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.hdf5"], "nothing.hdf5"),
        (["DATA", "--episodes", "0"], "--episodes must be 1 or more"),
        (["DATA", "--port", "70000"], "--port must be from 0 to 65535"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(arguments, sentence, capsys):
    assert main(["view", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_port_in_use_is_one_sentence():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="choose another --port"):
        free_port("127.0.0.1", taken.getsockname()[1])
