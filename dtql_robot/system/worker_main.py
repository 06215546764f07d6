"""What runs in a worker process: it builds its handler and answers calls until the caller is gone (see `workers`)."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO

from dtql_robot.errors import InputError, describe
from dtql_robot.system.parent import told_of_the_end
from dtql_robot.system.workers import LENGTH

WATCH_SECONDS = 1.0
GRACE_SECONDS = 5.0
"""For a handler to be closed after the caller has closed the pipe, or is gone."""


def end_with(caller: int, tied: bool) -> None:
    """See to it that this process ends soon after `caller`, also where it hangs and the caller was killed.

    tied: the kernel ends it at once (Linux).  A thread watches in any case, for what the kernel does not tell.
    """
    if tied:
        told_of_the_end(signal.SIGKILL)
    threading.Thread(target=_watch, args=(caller,), daemon=True).start()


def _watch(caller: int) -> None:
    """Wait until the caller has closed the pipe or is gone, give the handler time to close, and end the process."""
    watched = select.poll()
    watched.register(sys.stdin.fileno(), 0)  # no event but the end of all who could write
    while os.getppid() == caller and not watched.poll(1000 * WATCH_SECONDS):
        pass
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _answer(out: BinaryIO, kind: str, value: Any) -> None:
    data = pickle.dumps((kind, value), protocol=pickle.HIGHEST_PROTOCOL)
    out.write(LENGTH.pack(len(data)) + data)
    out.flush()


def _serve(calls: BinaryIO, out: BinaryIO) -> None:
    """Build the handler, answer calls until the caller closes the pipe, then close the handler if it can be."""
    sys.path += [folder for folder in pickle.load(calls) if folder not in sys.path]
    with contextlib.ExitStack() as at_end:
        _answer_calls(calls, out, at_end)


def _answer_calls(calls: BinaryIO, out: BinaryIO, at_end: contextlib.ExitStack) -> None:
    handler: Any = None
    while True:
        try:
            name, args = pickle.load(calls)
        except EOFError:
            return
        except Exception as error:  # what the caller sent names something that cannot be imported here
            _answer(out, "error", (describe(error), traceback.format_exc()))
            return
        try:
            if handler is None:
                module, _, attribute = name.partition(":")
                handler = getattr(importlib.import_module(module), attribute)(*args)
                if hasattr(handler, "close"):  # before the interpreter ends, which OpenGL's objects must not see
                    at_end.callback(_close, handler)
            else:
                _answer(out, "ok", getattr(handler, name)(*args))
        except InputError as error:
            _answer(out, "input_error", str(error))
            return
        except BrokenPipeError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # none of them is meant for this process
            _answer(out, "error", (describe(error), traceback.format_exc()))
            return


def _close(handler: Any) -> None:
    """All answers have been given: what fails here changes none of them."""
    with contextlib.suppress(Exception, SystemExit, KeyboardInterrupt):
        handler.close()


def main() -> None:
    """The worker's own entry point."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's; it then closes the pipe
    end_with(int(sys.argv[1]), tied=sys.argv[2] == "tied")
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a simulator prints must not reach the answers
    with contextlib.suppress(BrokenPipeError):
        _serve(sys.stdin.buffer, out)


if __name__ == "__main__":
    main()
