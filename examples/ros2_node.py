"""A ROS 2 node that lets a policy server move a robot.

    dtql-robot serve runs/pick                 # on the computer with the policy
    python examples/ros2_node.py --ros-args -p server:=192.168.1.20 -p rate:=20.0 -p \\
        observations:='["state=/joint_states", "front_image=/camera/image_raw"]' -p actions:=/arm/commands

It needs rclpy and dtql-robot-client (dtql_robot/client/README.md), and no torch.  Adapt `READERS` to your topics: each
turns one message into the array that the policy was trained on.  Commands are published as Float64MultiArray, what
ros2_control's forward controllers read.

The node moves nothing before every topic has been heard, and stops where a message is older than `max_age` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

try:
    from dtql_robot_client import Client, RealTimeLoop
except ModuleNotFoundError:  # where the whole package is installed
    from dtql_robot.client import Client, RealTimeLoop


def read_joint_state(message: Any) -> np.ndarray:
    """sensor_msgs/JointState: positions, then velocities where there are any, in the order of the joints' names."""
    order = np.argsort(message.name)
    found = [np.asarray(message.position, np.float32)[order]]
    if len(message.velocity):
        found.append(np.asarray(message.velocity, np.float32)[order])
    return np.concatenate(found)


def read_image(message: Any) -> np.ndarray:
    """sensor_msgs/Image: (H, W, C) uint8, red first.  ValueError for encodings other than rgb8, bgr8 and mono8."""
    channels = {"rgb8": 3, "bgr8": 3, "mono8": 1}.get(message.encoding)
    if channels is None:
        raise ValueError(f"images of encoding {message.encoding!r} are not known; expected rgb8, bgr8 or mono8")
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    image = rows[:, : message.width * channels].reshape(message.height, message.width, channels)
    return image[..., ::-1].copy() if message.encoding == "bgr8" else image.copy()


def read_array(message: Any) -> np.ndarray:
    """std_msgs/Float64MultiArray, flat."""
    return np.asarray(message.data, np.float32)


READERS: dict[str, Callable[[Any], np.ndarray]] = {
    "sensor_msgs/msg/JointState": read_joint_state,
    "sensor_msgs/msg/Image": read_image,
    "std_msgs/msg/Float64MultiArray": read_array,
}
"""Type of message -> its reader."""


class Senses:
    """The newest message of each observation."""

    def __init__(self, keys: Sequence[str], max_age: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys, self._max_age, self._clock = tuple(keys), max_age, clock
        self._newest: dict[str, tuple[float, np.ndarray]] = {}

    def hear(self, key: str, value: np.ndarray) -> None:
        """Take down what came for an observation."""
        self._newest[key] = (self._clock(), value)

    def missing(self) -> list[str]:
        """Observations that were not heard yet, or not for `max_age` seconds."""
        oldest = self._clock() - self._max_age
        return [key for key in self._keys if key not in self._newest or self._newest[key][0] < oldest]

    def observation(self) -> dict[str, np.ndarray]:
        """What the policy is shown.  TimeoutError where something is missing or old: it must not move blindly."""
        if missing := self.missing():
            raise TimeoutError(f"nothing new was heard of {', '.join(missing)}")
        return {key: self._newest[key][1] for key in self._keys}


def parse_topics(pairs: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """["state=/joint_states"] as observation -> topic.  ValueError where one of the policy's `keys` has no topic."""
    topics = dict(pair.split("=", 1) for pair in pairs)
    if lacking := [key for key in keys if key not in topics]:
        raise ValueError(f"the policy reads {', '.join(lacking)}: say of which topic, as in {lacking[0]}=/topic")
    return {key: topics[key] for key in keys}


def make_loop(
    client: Any, senses: Senses, send: Callable[[np.ndarray], None], rate: float, told: Mapping[str, Any]
) -> RealTimeLoop:
    """The control loop of one episode."""
    return RealTimeLoop(
        client.chunk,
        lambda: client.frames(senses.observation()),
        send,
        hz=rate,
        n_action_steps=told["n_action_steps"],
        chunk_weights=told["chunk_weights"],
    )


def main() -> None:
    """Run one episode with the parameters that were given."""
    import threading

    import rclpy
    from rclpy.node import Node
    from rosidl_runtime_py.utilities import get_message
    from std_msgs.msg import Float64MultiArray

    rclpy.init()
    node = Node("dtql_robot")
    for name, default in {
        "server": "127.0.0.1",
        "port": 8000,
        "rate": 20.0,
        "steps": 400,
        "max_age": 0.5,
        "observations": [""],
        "actions": "/commands",
    }.items():
        node.declare_parameter(name, default)
    given = {name: node.get_parameter(name).value for name in ("server", "port", "rate", "steps", "max_age", "actions")}
    with Client(given["server"], given["port"]) as client:
        topics = parse_topics(node.get_parameter("observations").value, list(client.metadata["observations"]))
        senses = Senses(list(topics), given["max_age"])
        types = dict(node.get_topic_names_and_types())
        for key, topic in topics.items():
            kind = types[topic][0]
            node.create_subscription(
                get_message(kind), topic, lambda m, k=key, read=READERS[kind]: senses.hear(k, read(m)), 1
            )
        publisher = node.create_publisher(Float64MultiArray, given["actions"], 1)
        threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
        while senses.missing():
            node.get_logger().info(f"waiting for {', '.join(senses.missing())}", throttle_duration_sec=5)
            time.sleep(0.1)

        def send(action: np.ndarray) -> None:
            publisher.publish(Float64MultiArray(data=[float(a) for a in action]))

        client.reset(seed=0)
        timing = make_loop(client, senses, send, given["rate"], client.metadata).run(given["steps"])
        node.get_logger().info(str(timing))
    rclpy.shutdown()


if __name__ == "__main__":
    main()
