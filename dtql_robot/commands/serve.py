"""`dtql-robot serve`: a trained policy behind a websocket."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.serving.served import Served


@dataclass(frozen=True, kw_only=True)
class Options:
    """Serve a trained policy to robots: observations in, actions out, over a websocket.

    It speaks the protocol of openpi's policy server. The client needs no torch: see docs/on_a_robot.md. GET /healthz
    answers 200. Ctrl-C stops it.
    Example: dtql-robot serve runs/pick --port 8000
    """

    run: Positional[Path]
    """Run folder that `train` wrote, or the folder of `export --format safetensors`."""
    port: int = 8000
    """TCP port; 0 takes a free one and prints it."""
    host: str = "127.0.0.1"
    """Address to listen on. Other machines can reach 0.0.0.0, or this machine's own addresses."""
    token: str | None = None
    """Token that clients must send. Default: the environment variable DTQL_ROBOT_TOKEN, which `ps` does not show."""
    without_token: bool = False
    """Accept every client that can reach --host."""
    max_clients: int = 64
    """Maximum number of simultaneous connections."""
    n_action_steps: int | None = None
    """Number of actions executed from each chunk. Default: same as in training."""
    act: Literal["mean", "sample", "best", "softmax", "diffusion", "diffusion-best"] | None = None
    """How actions are chosen. Default: same as in training."""
    device: str = "cpu"
    """Where images and candidates are computed: cpu, cuda."""


def run(options: Options) -> None:
    """Serve until Ctrl-C or SIGTERM, then say how much was served.

    InputError for an address that will not do, and a policy that cannot be loaded.
    """
    try:
        import msgpack  # noqa: F401
        import websockets  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"serve needs the package {error.name}: `pip install 'dtql-robot[serve]'`.") from error
    import asyncio

    from dtql_robot.serving.access import check_address, choose_token
    from dtql_robot.serving.server import PolicyServer

    if not 0 <= options.port <= 65535:
        raise InputError(f"--port must be from 0 to 65535, found {options.port}.")
    if options.max_clients < 1:
        raise InputError(f"--max-clients must be 1 or more, found {options.max_clients}.")
    token = choose_token(options.token)
    check_address(options.host, token, options.without_token)
    server = PolicyServer(served(options), token=token, max_clients=options.max_clients)
    asyncio.run(_until_stopped(server, options))
    print(f"served {server.requests} requests of {server.clients} clients")


def served(options: Options) -> Served:
    """The policy as the options want it: without torch's overhead, where its mean is all that it needs."""
    from dtql_robot.policy_folder.files import is_policy_folder, read_policy_folder
    from dtql_robot.serving.served import Served

    if is_policy_folder(options.run) and options.act is None and options.n_action_steps is None:
        found = read_policy_folder(options.run)
        light = found.in_numpy()
        if light is not None:
            return Served(light, light.interface, found.env.spec)
    import torch

    from dtql_robot.checkpoint import load_policy

    torch.set_num_threads(1)
    policy = load_policy(options.run, options.device)
    policy.set_act(options.act)
    policy.set_plan(options.n_action_steps, None)
    task = policy.recorded_env.spec if policy.recorded_env else None
    return Served(policy.portable() or policy, policy.interface, task)


async def _until_stopped(server: object, options: Options) -> None:
    import asyncio
    import contextlib
    import signal

    from dtql_robot.serving.server import PolicyServer, run_server

    assert isinstance(server, PolicyServer)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends asyncio.run itself
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    def ready(port: int) -> None:
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"serving {shlex.quote(str(options.run))} at ws://{host}:{port} (Ctrl-C stops it)", flush=True)

    await run_server(server, options.host, options.port, stopped, ready)
