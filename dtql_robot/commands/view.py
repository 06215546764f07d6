"""`dtql-robot view`: demonstrations, or a policy's episodes, in the browser."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from dtql_robot.errors import InputError

if TYPE_CHECKING:
    from dtql_robot.viewer.recording import Source


@dataclass(frozen=True, kw_only=True)
class Options:
    """Look at demonstrations, or at what a policy does, in the browser: in 3-D, by camera, with states and actions.

    A slider scrubs through the episode. Demonstrations are shown by their recorded states, else by their actions, else
    by their recorded images. A policy's episodes are run when you select them. Ctrl-C stops it.
    Example: dtql-robot view demos/pick.hdf5
    """

    source: Positional[str]
    """A demonstration file that `inspect` reads, a run folder, or the folder of `export --format safetensors`."""
    env: str | None = None
    """Environment. Default: the one that the data or the run names."""
    filter_key: str | None = None
    """Only the demonstrations listed under `mask/<filter_key>`."""
    episodes: int = 50
    """Maximum number of episodes to list."""
    seed: int = 0
    """Seed of a policy's episodes, as in `eval`."""
    port: int = 8080
    """TCP port; 0 takes a free one and prints it."""
    host: str = "127.0.0.1"
    """Address to listen on. Anyone who can reach it can watch."""


def run(options: Options) -> None:
    """Serve the page until Ctrl-C.  InputError for what cannot be shown, and an address that will not do."""
    try:
        import viser  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"view needs the package {error.name}: `pip install 'dtql-robot[view]'`.") from error
    from dtql_robot.viewer.page import Page

    if options.episodes < 1:
        raise InputError(f"--episodes must be 1 or more, found {options.episodes}.")
    if not 0 <= options.port <= 65535:
        raise InputError(f"--port must be from 0 to 65535, found {options.port}.")
    page = Page(make_source(options), options.host, free_port(options.host, options.port))
    try:
        print(f"look at http://{options.host}:{page.server.get_port()} (Ctrl-C stops it)", flush=True)
        page.wait()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        page.close()


def free_port(host: str, port: int) -> int:
    """The port, or a free one for 0.  InputError where it is taken."""
    import socket

    try:
        with socket.create_server((host, port)) as found:
            return int(found.getsockname()[1])
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port.") from error


def make_source(options: Options) -> Source:
    """Demonstrations or rollouts, by what is there."""
    from dataclasses import replace

    from dtql_robot.policy_folder.files import is_policy_folder
    from dtql_robot.run_folder import CONFIG
    from dtql_robot.run_name import split_checkpoint

    folder = split_checkpoint(Path(options.source))[0]
    if (folder / CONFIG).is_file() or is_policy_folder(folder):
        import torch

        from dtql_robot.envs.seeding import check_run, evaluation_seed
        from dtql_robot.eval.subject import as_subject
        from dtql_robot.viewer.rollouts import RolloutSource

        torch.set_num_threads(1)
        subject = as_subject(options.source, options.env, None)
        check_run(options.seed, options.episodes)
        seeds = [evaluation_seed(options.seed, i) for i in range(options.episodes)]
        return RolloutSource(subject, options.source, seeds)
    from dtql_robot.commands.playback import read
    from dtql_robot.viewer.demonstrations import DemonstrationSource

    demos = read(options.source, options.filter_key, options.env)
    return DemonstrationSource(replace(demos, episodes=demos.episodes[: options.episodes]), options.env)
