"""The command line: `dtql-robot COMMAND ...`.  The only place that joins data, training, simulators and evaluation.

Each command is a frozen dataclass whose fields are its options; `tyro` turns it into a parser, and `help_text` into
its help. Heavy packages are imported inside the commands, so that `--help` is instant.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dtql_robot import __version__
from dtql_robot.errors import MissingOutputError, did_you_mean
from dtql_robot.system.bundled_glfw import name_bundled_glfw
from dtql_robot.system.launch import spin_briefly
from dtql_robot.system.terminal import accept_every_character, open_streams, plain_output

TYPE_CHECKING = False  # typing, signal and threading are not imported for --help
if TYPE_CHECKING:
    from typing import Any

USAGE = """\
dtql-robot {version}: turn robot demonstrations into a fast one-step policy, with its success rate and a video.

usage: dtql-robot COMMAND [options]
       dtql-robot COMMAND --help     explains one command
       dtql-robot --version

commands:
{commands}

options of every command:
{anywhere}

completion with the Tab key, for bash (zsh and fish: docs/commands.md):
  dtql-robot --completion bash >> ~/.bashrc

a first run, end to end:
  dtql-robot collect FetchPickAndPlace-v4 --episodes 200 --out demos/pick.hdf5
  dtql-robot inspect demos/pick.hdf5
  dtql-robot train --data demos/pick.hdf5 --out runs/pick
  dtql-robot eval runs/pick --episodes 200 --video runs/pick/rollouts.mp4

exit codes: 0 success, 2 invalid input (the message says what is wrong), 1 any other error.
"""

ANYWHERE = """\
  -h, --help              Show this help.
  -q, --quiet             Hide progress.
  -v, --verbose           Show the traceback of an error."""
QUIET, VERBOSE, HELP = {"-q", "--quiet"}, {"-v", "--verbose"}, {"-h", "--help", "--help-all"}

COMMANDS = {
    "collect": "record scripted demonstrations in simulation",
    "inspect": "show what is in a demonstration file",
    "validate": "find everything in a file that would spoil training or evaluation",
    "data": "list, download or delete published data sets (robomimic, D4RL, OGBench, ...)",
    "convert": "convert demonstrations to robomimic, Minari, LeRobot or OGBench format",
    "edit": "choose demonstrations, cut idle starts, rename observations",
    "split": "split demonstrations into training and validation sets",
    "playback": "replay demonstrations in the simulator, count successes, film them",
    "view": "look at demonstrations, or a policy's episodes, in the browser in 3-D",
    "train": "train a policy on demonstrations",
    "eval": "evaluate a trained policy: success rate with interval, video, report",
    "toy": "draw the paper's 2-D bandits: trust region against KL",
    "compare": "compare evaluated runs, with a paired test",
    "bench": "run tasks x methods x seeds, and make one table and one figure",
    "export": "write a policy as TorchScript, ONNX or a small folder of safetensors",
    "serve": "serve a trained policy over a websocket, for robots",
    "demo": "collect, train and evaluate on FetchPickAndPlace, in a few minutes",
}
"""Command -> summary.  `dtql_robot.commands.<command>` holds its Options and `run(options)`.

It may also have: `defaults(arguments)`, an Options with other defaults or None; `BASIC`, the nested settings that
belong into the short help; `INTERRUPTED`, what to say after Ctrl-C where the error itself does not.
"""


def usage() -> str:
    """The text of `dtql-robot --help`."""
    lines = (f"  {name:<10}{summary}" for name, summary in COMMANDS.items())
    return USAGE.format(version=__version__, commands="\n".join(lines), anywhere=ANYWHERE)


def parse(command: str, arguments: Sequence[str]) -> tuple[Callable[[Any], None], Any]:
    """The command's function and its options.  SystemExit after help."""
    from dtql_robot.commands.words import parse_options
    from dtql_robot.env_record import FAMILIES
    from dtql_robot.system.plugins import ENVS, installed
    from dtql_robot.system.user_modules import trust_named_module

    module = importlib.import_module(f"dtql_robot.commands.{command}")
    default = module.defaults(arguments) if hasattr(module, "defaults") else None
    if HELP & set(arguments):
        from dtql_robot.cli.help_text import help_text

        print(help_text(command, module, default, ANYWHERE, everything="--help-all" in arguments), end="")
        sys.exit(0)
    options = parse_options(module, arguments, default, f"dtql-robot {command}")
    trust_named_module(arguments, lambda: (*FAMILIES, *installed(ENVS)))
    return module.run, options


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, by which schedulers announce that they will kill, saves what Ctrl-C saves."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can be told
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 something given is wrong, 1 anything else.

    arguments: None: the process's own.  The process ends with the command, so a Ctrl-C that comes later is ignored.
    """
    own = arguments is None
    if arguments is None:
        arguments = sys.argv[1:]
        os.environ["PYTHONSAFEPATH"] = "1"  # for interpreters that libraries start, see system.launch
        spin_briefly()
        name_bundled_glfw()
    try:
        return _command(arguments, own)
    finally:
        if own:
            from dtql_robot.system.interrupts import ignore_interrupts

            ignore_interrupts()


def _command(arguments: Sequence[str], own: bool) -> int:
    """Run the command, or answer what is asked without one.  Returns the exit code.  own: see `main`."""
    words = [word for word in arguments if word not in QUIET | VERBOSE]
    open_streams()
    accept_every_character()
    if words and words[0] in COMMANDS:
        from dtql_robot.system.progress import progress_shown

        with progress_shown(not QUIET & set(arguments)):
            return _run(words[0], words[1:], verbose=bool(VERBOSE & set(arguments)), own=own)
    with plain_output():
        return _answer(words)


def _answer(words: Sequence[str]) -> int:
    """What is asked without a command: help, the version, completion.  Returns the exit code."""
    first = words[0] if words else "--help"
    if first == "help" and words[1:2] and words[1] in COMMANDS:
        return _run(words[1], ["--help"], verbose=False)
    if first in (*HELP, "help"):
        print(usage(), end="")
    elif first == "--version":
        print(f"dtql-robot {__version__}")
    elif first == "--completion":
        from dtql_robot.cli.completion import SHELLS, completion

        if list(words[1:]) not in [[shell] for shell in SHELLS]:
            print(f"dtql-robot: --completion needs one of {', '.join(SHELLS)}.", file=sys.stderr)
            return 2
        print(completion(words[1], COMMANDS), end="")
    else:
        hint = did_you_mean(first, COMMANDS, n=1)
        print(f"dtql-robot: unknown command {first!r}. {hint} `dtql-robot --help` lists all.", file=sys.stderr)
        return 2
    return 0


def _run(command: str, arguments: Sequence[str], *, verbose: bool, own: bool = False) -> int:
    """Run a command, and say what went wrong in one sentence.  Returns the exit code.

    own: the process ends then.
    """
    from dtql_robot.failures import explain, interrupt_notes
    from dtql_robot.system.interrupts import ignore_interrupts, redelivered_interrupts

    try:
        with redelivered_interrupts(), terminated_as_interrupted():
            run, options = parse(command, arguments)
            if command != "train":  # which several processes can share, or refuses itself
                from dtql_robot.system.launcher import refuse_launcher

                refuse_launcher(f"`dtql-robot {command}`")
            with plain_output():
                run(options)
                sys.stdout.flush()
                lost = getattr(sys.stdout, "lost", None)
        if isinstance(lost, BrokenPipeError):  # as in `dtql-robot inspect FILE | head`: wanted so
            return 1
        if lost is not None:
            raise MissingOutputError(f"what it printed could not be written: {lost.strerror}; everything else is done.")
    except BaseException as error:
        while own:
            try:
                ignore_interrupts()
                break
            except KeyboardInterrupt:  # a signal that was on its way arrives where a call begins, hence no helper
                continue
        explained = explain(error)
        if explained is None:
            raise
        sentence, code = explained
        after = getattr(sys.modules.get(f"dtql_robot.commands.{command}"), "INTERRUPTED", None)
        if after and isinstance(error, KeyboardInterrupt) and not interrupt_notes(error):
            sentence = f"{sentence} {after}"
        with plain_output():
            if verbose:
                import traceback

                traceback.print_exception(error)
            print(f"dtql-robot {command}: {sentence}", file=sys.stderr)
        return code
    return 0
