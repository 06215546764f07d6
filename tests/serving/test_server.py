"""A server's actions are those of the policy in this process, bit for bit, for every client and way to act."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("websockets", reason='needs pip install "dtql-robot[serve]" (websockets, msgpack)')

import msgpack
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from dtql_robot import ActionPlan
from dtql_robot.client import Client, PolicyError
from dtql_robot.config import PolicyConfig
from dtql_robot.serving.served import Served
from tests.helpers.policy_server import serving
from tests.helpers.saved_policy import observation, small_policy

KINDS = {
    "mean": {},
    "sample": {"policy": PolicyConfig(act="sample", tr_at="sample")},
    "best": {"policy": PolicyConfig(act="best", candidates=4, tr_at="sample")},
    "images": {"images": True},
    "frames": {"images": True, "frames": 3},
}


def served(policy):
    return Served(policy.portable() or policy, policy.interface)


@pytest.fixture(scope="module")
def policy():
    return small_policy()


@pytest.fixture
def port(policy):
    with serving(served(policy)) as (_, port):
        yield port


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_clients_side_by_side_act_as_the_policy_does_alone(kind, tmp_path):
    images = "images" in KINDS[kind]
    policy = small_policy(**KINDS[kind])
    steps, clients = 7, 4

    def episodes(number):
        with Client(port=port) as client:
            found = []
            for episode in range(2):
                client.reset(seed=10 * number + episode)
                found += [client.act(observation(100 * number + step, images)) for step in range(steps)]
            return found

    with serving(served(policy)) as (server, port), ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(episodes, range(clients)))
    for number in range(clients):
        expected = []
        for episode in range(2):
            policy.reset(seed=10 * number + episode)
            expected += [policy.act(observation(100 * number + step, images)) for step in range(steps)]
        np.testing.assert_array_equal(found[number], expected)
    assert (server.clients, server.requests) == (clients, clients * 2 * 4)  # of two steps each, the last one of one


def test_requests_that_wait_together_are_predicted_together(policy):
    with serving(served(policy)) as (server, port):
        sockets = [connect(f"ws://127.0.0.1:{port}") for _ in range(8)]
        assert all(b"dtql-robot" in socket.recv() for socket in sockets)
        for _ in range(10):
            for number, socket in enumerate(sockets):
                socket.send(openpi_bytes({**observation(number), "__chunk__": True}))
            for number, socket in enumerate(sockets):
                chunk = openpi_actions(socket.recv(timeout=10))
                alone = policy.predict({k: v[None] for k, v in observation(number).items()}, [None])[0]
                np.testing.assert_array_equal(chunk, alone)
        [socket.close() for socket in sockets]
    assert server.requests == 80 > server.batcher.calls


def openpi_bytes(obs):
    """As openpi's client writes it (packages/openpi-client, msgpack_numpy)."""

    def encode(value):
        assert isinstance(value, np.ndarray)
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}

    return msgpack.packb(obs, default=encode)


def openpi_actions(reply):
    found = msgpack.unpackb(reply)["actions"]
    return np.ndarray(buffer=found[b"data"], dtype=np.dtype(found[b"dtype"]), shape=found[b"shape"])


def test_a_client_of_openpi_gets_the_actions_to_execute(policy, port):
    plan = ActionPlan(policy.n_action_steps, policy.chunk_weights)
    with connect(f"ws://127.0.0.1:{port}", additional_headers={"Authorization": "Api-Key unused"}) as socket:
        told = msgpack.unpackb(socket.recv())
        assert (told["package"], told["protocol"], told["horizon"], told["n_action_steps"]) == ("dtql-robot", 1, 4, 2)
        assert told["observations"]["pose"] == {"shape": [2, 2], "dtype": "float32", "image": False}
        for step in range(5):
            if step == 3:
                plan = ActionPlan(policy.n_action_steps, policy.chunk_weights)
            obs = observation(step)
            socket.send(openpi_bytes({**obs, "prompt": "fold the towel", **({"__reset__": None} if step == 3 else {})}))
            reply = socket.recv()
            chunk = policy.predict({k: v[None] for k, v in obs.items()}, [np.random.default_rng()])[0]
            np.testing.assert_array_equal(openpi_actions(reply), plan.next(chunk))
            assert msgpack.unpackb(reply)["server_timing"]["infer_ms"] > 0
        for message, words in (
            ("text", "expected msgpack"),
            (b"\xc1", "not msgpack"),
            (msgpack.packb([1]), "expected a map"),
            (openpi_bytes({**observation(0), "__reset__": -1}), "must be a seed"),
        ):
            socket.send(message)
            assert words in socket.recv()


def test_a_wrong_observation_is_one_sentence_and_the_conversation_goes_on(policy, port):
    good = observation(0)
    with Client(port=port) as client:
        for bad, words in (
            ({"pose": good["pose"]}, "'goal' is missing"),
            ({**good, "goal": np.zeros(4)}, r"'goal' has shape \(4,\); trained on \(3,\)"),
            ({**good, "goal": np.array([0, np.nan, 0])}, r"'goal' entry 1 is nan"),
            ({**good, "goal": np.full(3, 1e300)}, r"'goal' entry 0 is inf|'goal' entry 0 is 1e\+300"),
            ({**good, "goal": ["a", "b", "c"]}, "'goal' is not an array of numbers"),
            ({**good, "goal": {"x": 1}}, "'goal' is not an array of numbers"),
        ):
            with pytest.raises(PolicyError, match=words):
                client.infer(bad)
        policy.reset()
        np.testing.assert_array_equal(client.act(good), policy.act(good))
        assert client.reconnections == 0


def test_health_needs_no_token_and_robots_do(policy):
    import urllib.request

    with serving(served(policy), token="open-sesame") as (_, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            assert (answer.status, answer.read()) == (200, b"OK\n")
        for token in (None, "open-sesam", "open-sesame2", "Open-sesame", "\xfc"):
            with pytest.raises(PermissionError, match="refuses this token"):
                Client(port=port, token=token, wait=5)
        for header in ("open-sesame", "Api-Key", "Basic open-sesame", "Api-Key  open-sesame"):
            with pytest.raises(InvalidStatus):
                connect(f"ws://127.0.0.1:{port}", additional_headers={"Authorization": header})
        with Client(port=port, token="open-sesame") as client:
            assert client.act(observation(0)).shape == (2,)
        with connect(f"ws://127.0.0.1:{port}", additional_headers={"Authorization": "Bearer open-sesame"}) as socket:
            assert socket.recv()


def test_a_web_page_cannot_move_the_robot(port):
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}", origin="http://localhost")


def test_more_clients_than_allowed_wait_for_a_place(policy):
    with serving(served(policy), max_clients=1) as (_, port), Client(port=port) as first:
        first.act(observation(0))
        with pytest.raises(ConnectionError, match=r"no policy server answers.*503"):
            Client(port=port, wait=0.2)
        first.close()
        with Client(port=port, wait=5) as second:
            assert second.act(observation(0)).shape == (2,)


def test_what_fails_in_the_policy_costs_one_request(policy, caplog):
    policy = policy.portable()

    class Flaky:
        action_dim, n_action_steps, chunk_weights, calls = 2, 2, None, 0

        def predict(self, obs, rngs):
            if obs["goal"][0, 0] > 100:
                raise RuntimeError("boom")
            return policy.predict(obs, rngs)

    with serving(Served(Flaky(), policy.interface)) as (_, port), Client(port=port) as client:
        with pytest.raises(PolicyError, match="the server failed"):
            client.infer({**observation(0), "goal": np.full(3, 101.0)})
        assert client.act(observation(0)).shape == (2,)
    assert "RuntimeError: boom" in caplog.text
