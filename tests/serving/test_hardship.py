"""A server that dies, and clients that mean harm, are slow or send nonsense: the others go on."""

import os
import random
import signal
import socket as sockets
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("websockets", reason='needs pip install "dtql-robot[serve]" (websockets, msgpack)')

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from dtql_robot.cli import main
from dtql_robot.client import Client, PolicyError
from dtql_robot.client.wire import pack
from dtql_robot.policy_folder.save import save_policy_folder
from dtql_robot.serving.served import Served
from tests.helpers.policy_server import serving, start_server
from tests.helpers.saved_policy import observation, small_policy


@pytest.fixture(scope="module")
def policy():
    return small_policy()


@pytest.mark.slow
def test_a_client_goes_on_when_the_server_is_killed_and_started_again(policy, tmp_path):
    folder = save_policy_folder(policy, tmp_path / "policy")
    policy.reset(seed=0)
    process, port = start_server(folder)
    try:
        with Client(port=port, wait=60) as client:
            client.reset(seed=0)
            for step in range(9):
                if step in (3, 6):  # in the middle of a chunk, and between two
                    process.send_signal(signal.SIGKILL)
                    process.communicate()
                    process, _ = start_server(folder, port)
                np.testing.assert_array_equal(client.act(observation(step)), policy.act(observation(step)))
            assert client.reconnections == 2
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "served 2 requests of 1 clients\n", "")
    finally:
        process.kill()


@pytest.mark.slow
def test_another_policy_at_the_same_address_is_not_taken_for_the_first(policy, tmp_path):
    other = small_policy(n_action_steps=1)
    with serving(Served(policy.portable(), policy.interface)) as (_, port):
        client = Client(port=port, wait=2)
        client.act(observation(0))
    with pytest.raises(ConnectionError, match="no policy server answers"):
        client.infer(observation(0))
    client._uri = client._uri.replace(str(port), "{port}")
    with serving(Served(other.portable(), other.interface)) as (_, port):
        client._uri = client._uri.format(port=port)
        with pytest.raises(PolicyError, match="restarted with a policy of other observations or plan"):
            client.infer(observation(0))


def good_message() -> bytes:
    """A request that is as it should be."""
    return pack(observation(0))


def fuzzed(rng: random.Random, good: bytes) -> bytes | str:
    """A message that is nearly right, or nothing like it."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(300))
    if kind == 1:
        return good[: rng.randrange(len(good))]
    if kind == 2:
        return good + rng.randbytes(1 + rng.randrange(9))
    if kind == 3:
        return "".join(chr(rng.randrange(1, 0xD7FF)) for _ in range(rng.randrange(40)))
    if kind == 4:
        return rng.choice([b"\x91" * 5000, b"\x81\xa1a" * 5000, b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff"])
    changed = bytearray(good)
    for _ in range(1 + rng.randrange(4)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def harm(port: int, messages: int, seed: int) -> int:
    """Send fuzzed messages, connecting again where the server hangs up.  Returns how many it answered."""
    rng, answered, good = random.Random(seed), 0, good_message()
    socket = connect(f"ws://127.0.0.1:{port}", compression=None)
    socket.recv()
    for _ in range(messages):
        try:
            socket.send(fuzzed(rng, good))
            socket.recv(timeout=20)
            answered += 1
        except ConnectionClosed:
            socket = connect(f"ws://127.0.0.1:{port}", compression=None)
            socket.recv()
    socket.close()
    return answered


def test_nonsense_huge_and_slow_clients_hurt_nobody(policy):
    good = [observation(step) for step in range(4)]
    expected = [policy.predict({k: v[None] for k, v in obs.items()}, [None])[0] for obs in good]
    with serving(Served(policy.portable(), policy.interface)) as (_, port):
        idle = [sockets.create_connection(("127.0.0.1", port)) for _ in range(5)]  # says nothing
        idle[0].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")  # and never ends its sentence
        idle[1].sendall(os.urandom(2000))
        deaf = connect(f"ws://127.0.0.1:{port}", compression=None, max_queue=1)
        done = threading.Event()
        answered: list[int] = []

        def attack() -> None:
            answered.append(harm(port, 150, seed=0))
            huge = connect(f"ws://127.0.0.1:{port}", compression=None)
            with pytest.raises(ConnectionClosed, match="1009"):
                [(huge.send(bytes(10_000_000)), huge.recv()) for _ in range(3)]
            for _ in range(200):
                deaf.send(pack(good[0]))  # and reads no answer
            done.set()

        thread = threading.Thread(target=attack)
        thread.start()
        took = []
        with Client(port=port) as client:
            while not done.is_set() or len(took) < 50:
                begun = time.monotonic()
                found = client.chunk(good[len(took) % 4])
                took.append(time.monotonic() - begun)
                np.testing.assert_array_equal(found, expected[(len(took) - 1) % 4])
            assert client.reconnections == 0
            with pytest.raises(PolicyError, match="too large"):
                client.chunk({**good[0], "extra": np.zeros(100_000)})
            np.testing.assert_array_equal(client.chunk(good[0]), expected[0])
        thread.join()
        assert answered == [150]  # nonsense is answered by a sentence
        assert float(np.median(took)) < 0.2
        [socket.close() for socket in idle]
        deaf.socket.close()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 can be reached from other machines"),
        (["--host", "::"], "can be reached from other machines"),
        (["--host", ""], "can be reached from other machines"),
        (["--host", "robot.local"], "can be reached from other machines"),
        (["--token", ""], "--token must be one or more printable ASCII characters"),
        (["--token", "a b"], "--token must be one or more printable ASCII characters"),
        (["--port", "70000"], "--port must be from 0 to 65535"),
        (["--max-clients", "0"], "--max-clients must be 1 or more"),
        (["--host", "192.0.2.1", "--without-token"], "cannot listen on 192.0.2.1:8000"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(policy, tmp_path, options, sentence, capsys, monkeypatch):
    monkeypatch.delenv("DTQL_ROBOT_TOKEN", raising=False)
    folder = save_policy_folder(policy, tmp_path / "policy")
    assert main(["serve", str(folder), *options]) == 2
    assert sentence in capsys.readouterr().err


def test_a_port_in_use_is_one_sentence(policy, tmp_path, capsys):
    folder = save_policy_folder(policy, tmp_path / "policy")
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", str(folder), "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err


@pytest.mark.slow
def test_without_websockets_serve_names_what_to_install(policy, tmp_path):
    folder = save_policy_folder(policy, tmp_path / "policy")
    code = f"""
import sys
sys.modules["msgpack"] = None
from dtql_robot.cli import main
main(["serve", {str(folder)!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'dtql-robot[serve]'" in done.stderr
    assert "Traceback" not in done.stderr
