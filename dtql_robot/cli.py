"""The command line: `dtql-robot COMMAND ...`.  The only place that joins data, training, simulators and evaluation.

Each command is a frozen dataclass whose fields are its options; `tyro` turns it into a parser and its help.
Heavy packages are imported inside the commands, so that `--help` is instant.
"""

from __future__ import annotations

import difflib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dtql_robot import __version__
from dtql_robot.failures import explain
from dtql_robot.system.launcher import refuse_launcher
from dtql_robot.system.terminal import accept_every_character, open_streams, plain_output

USAGE = """\
dtql-robot {version}: robot demonstrations in; a fast one-step policy, its success rate and a video out.

usage: dtql-robot COMMAND [options]      (dtql-robot COMMAND --help explains each)

commands:
{commands}

a first run, end to end:
  dtql-robot collect FetchPickAndPlace-v4 --episodes 200 --out demos/pick.hdf5
  dtql-robot inspect demos/pick.hdf5
  dtql-robot train --data demos/pick.hdf5 --out runs/pick
  dtql-robot eval runs/pick --episodes 200 --video runs/pick/rollouts.mp4

exit codes: 0 done, 2 something given is wrong (one message says what), 1 anything else.
"""

COMMANDS = {
    "collect": "record scripted demonstrations in simulation",
    "inspect": "show what a demonstration file holds",
    "validate": "find everything in a file that would make training or evaluation wrong",
    "convert": "robomimic, Minari, D4RL, OGBench, Zarr and raw robosuite files into robomimic or Minari",
    "split": "write train and valid filter keys into a robomimic file",
    "playback": "replay demonstrations in the simulator: how many still succeed, and a video",
    "train": "train DTQL on demonstrations",
    "eval": "roll a trained policy out: success rate, interval, video, report",
    "toy": "the paper's 2-D bandits: trust region against KL, as one figure",
    "compare": "evaluated runs side by side, with a paired test",
    "bench": "tasks x methods x seeds into one table and one figure",
    "export": "the policy as one TorchScript or ONNX file",
    "demo": "all of the above on FetchPickAndPlace, in a few minutes",
}
"""Command -> summary.  `dtql_robot.commands.<command>` holds its Options and `run(options)`."""


def usage() -> str:
    """The text of `dtql-robot --help`."""
    lines = (f"  {name:<10}{summary}" for name, summary in COMMANDS.items())
    return USAGE.format(version=__version__, commands="\n".join(lines))


def parse(command: str, arguments: Sequence[str]) -> tuple[Callable[[Any], None], Any]:
    """The command's function and its options."""
    import importlib

    import tyro

    from dtql_robot.config.checks import checked, deferred
    from dtql_robot.env_record import FAMILIES
    from dtql_robot.system.user_modules import trust_named_module

    module = importlib.import_module(f"dtql_robot.commands.{command}")
    default = module.defaults(arguments) if hasattr(module, "defaults") else None
    with deferred():
        options = tyro.cli(
            module.Options,
            args=list(arguments),
            default=default,
            prog=f"dtql-robot {command}",
            config=(tyro.conf.OmitArgPrefixes,),
        )
    trust_named_module(arguments, FAMILIES)
    return module.run, checked(options)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, by which schedulers announce that they will kill, saves what Ctrl-C saves."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can be told
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 something given is wrong, 1 anything else."""
    if arguments is None:
        arguments = sys.argv[1:]
        os.environ["PYTHONSAFEPATH"] = "1"  # for interpreters that libraries start, see system.launch
    arguments = list(arguments)
    open_streams()
    accept_every_character()
    with plain_output():
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            print(usage(), end="")
            return 0
        if arguments[0] == "--version":
            print(f"dtql-robot {__version__}")
            return 0
        command, *rest = arguments
        if command not in COMMANDS:
            near = difflib.get_close_matches(command, COMMANDS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            print(f"dtql-robot: unknown command {command!r}; {hint}Choose from {', '.join(COMMANDS)}.", file=sys.stderr)
            return 2
    try:
        with terminated_as_interrupted():
            run, options = parse(command, rest)
            refuse_launcher(f"`dtql-robot {command}`")
            with plain_output():
                run(options)
                sys.stdout.flush()
    except BrokenPipeError:  # as in `dtql-robot inspect FILE | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        explained = explain(error)
        if explained is None:
            raise
        sentence, code = explained
        with plain_output():
            print(f"dtql-robot {command}: {sentence}", file=sys.stderr)
        return code
    return 0
