"""The ROS 2 example, as far as it runs without ROS: messages to arrays, stale topics, the loop on a real server."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("websockets", reason='needs pip install "dtql-robot[serve]" (websockets, msgpack)')


from dtql_robot.client import Client
from dtql_robot.serving.served import Served
from tests.helpers.policy_server import serving
from tests.helpers.saved_policy import small_policy

FILE = Path(__file__).parents[2] / "examples" / "ros2_node.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("ros2_node", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_messages_become_the_arrays_that_the_policy_was_trained_on(example):
    joints = SimpleNamespace(name=["b", "a"], position=[2.0, 1.0], velocity=[4.0, 3.0])
    np.testing.assert_array_equal(example.read_joint_state(joints), [1, 2, 3, 4])
    joints.velocity = []
    np.testing.assert_array_equal(example.read_joint_state(joints), [1, 2])
    rows = np.arange(2 * 8, dtype=np.uint8).reshape(2, 8)  # two pixels of three bytes, and two of padding
    image = SimpleNamespace(height=2, width=2, step=8, encoding="rgb8", data=rows.tobytes())
    np.testing.assert_array_equal(example.read_image(image), rows[:, :6].reshape(2, 2, 3))
    image.encoding = "bgr8"
    np.testing.assert_array_equal(example.read_image(image), rows[:, :6].reshape(2, 2, 3)[..., ::-1])
    image.encoding = "16UC1"
    with pytest.raises(ValueError, match="16UC1"):
        example.read_image(image)


def test_every_observation_needs_a_topic(example):
    assert example.parse_topics(["goal=/g", "pose=/a=b"], ["pose", "goal"]) == {"pose": "/a=b", "goal": "/g"}
    with pytest.raises(ValueError, match="the policy reads goal"):
        example.parse_topics(["pose=/p"], ["pose", "goal"])


def test_the_robot_does_not_move_on_what_is_old(example):
    now = [0.0]
    senses = example.Senses(["pose", "goal"], max_age=0.5, clock=lambda: now[0])
    senses.hear("pose", np.zeros((2, 2)))
    assert senses.missing() == ["goal"]
    senses.hear("goal", np.ones(3))
    assert set(senses.observation()) == {"pose", "goal"}
    now[0] = 0.6
    with pytest.raises(TimeoutError, match="nothing new was heard of pose, goal"):
        senses.observation()


def test_it_runs_a_policy_of_a_real_server_at_its_rate(example):
    policy, sent = small_policy(), []
    senses = example.Senses(["pose", "goal"], max_age=60)
    senses.hear("pose", np.zeros((2, 2)))
    senses.hear("goal", np.ones(3))
    with serving(Served(policy.portable(), policy.interface)) as (_, port), Client(port=port) as client:
        loop = example.make_loop(client, senses, sent.append, 50.0, client.metadata)
        loop._delay = 0  # as it is measured on a machine that is not busy
        timing = loop.run(10)
    obs = {"pose": np.zeros((2, 2)), "goal": np.ones(3)}
    np.testing.assert_array_equal(sent, [policy.act(obs) for _ in range(10)])
    assert timing.starved == 0
