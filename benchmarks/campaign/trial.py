"""One command in a process of its own, and whether it kept its promises."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

GIB = 2**30


@dataclass(frozen=True)
class Outcome:
    """What came of a command: its exit code (None where it had to be stopped), all that it printed, what it took."""

    code: int | None
    output: str
    seconds: float
    peak_bytes: int = 0


@dataclass
class Tally:
    """How often a promise was put to the test, and each time that it broke."""

    promise: str
    tried: int = 0
    broken: list[str] = field(default_factory=list)
    note: str = ""

    def check(self, held: bool, what: str) -> None:
        """Count one trial; `what` describes it where the promise broke."""
        self.tried += 1
        if not held:
            self.broken.append(what)
        if os.environ.get("CAMPAIGN_LOG"):
            print(f"{time.strftime('%T')} {'held' if held else 'BROKE'} {what[:300]}", file=sys.stderr, flush=True)


def promised(outcome: Outcome, codes: Sequence[int] = (0, 1, 2), misspelt: bool = False) -> str | None:
    """What is wrong with how a command ended; None where it did what every command promises.

    RuntimeError for a command line that the campaign itself got wrong, unless it is `misspelt` on purpose: its refusal
    would count as a promise held.
    """
    if not misspelt and re.search("there is no (option|place for) |unknown command", outcome.output):
        raise RuntimeError(outcome.output)
    if outcome.code is None:
        return f"hangs ({outcome.seconds:.0f} s)"
    if "Traceback (most recent call last)" in outcome.output:
        return "traceback: " + outcome.output.strip()[-1500:]
    if outcome.code not in codes:
        return f"exit code {outcome.code}: {outcome.output.strip()[-200:]}"
    if outcome.code == 2 and not outcome.output.strip():
        return "exit code 2 without a word"
    return None


def forked(
    call: Callable[[], int],
    seconds: float,
    memory: int = 3 * GIB,
    stop: tuple[float, signal.Signals] | None = None,
) -> Outcome:
    """Run `call` in a fork of this process, whose imports are done: a command in some hundredths of a second.

    memory: more address space than the process has now is refused to it beyond so many bytes.
    stop: a signal to send, and after how many seconds.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        start = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _child(call, output.fileno(), memory)
        code, peak = _wait(pid, start + seconds, start + stop[0] if stop else None, stop[1] if stop else 0)
        output.seek(0)
        return Outcome(code, output.read(), time.monotonic() - start, peak)


def _child(call: Callable[[], int], output: int, memory: int) -> None:
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the command is not there yet to say that it was interrupted
        for number in (1, 2):
            os.dup2(output, number)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = call()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 70
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _wait(pid: int, deadline: float, stop_at: float | None, number: int) -> tuple[int | None, int]:
    while True:
        if stop_at is not None and time.monotonic() > stop_at:
            os.kill(pid, number)  # it has not been waited for, so this number is still its own
            stop_at = None
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.wait4(pid, 0)
            return None, 0
        time.sleep(0.002)


def run(
    arguments: Sequence[object],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = 120,
    shell: str = "",
) -> Outcome:
    """`dtql-robot ARGUMENTS` as a user starts it; with `shell`, by a script that has the words as "$@"."""
    process = start(arguments, cwd=cwd, env=env, shell=shell)
    return finish(process, seconds)


def start(
    arguments: Sequence[object], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, shell: str = ""
) -> subprocess.Popen[str]:
    """The same, under way, in a session of its own."""
    program = Path(sys.executable).with_name("dtql-robot")
    full = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    return subprocess.Popen(
        [*(["sh", "-c", shell, "sh"] if shell else []), str(program), *map(str, arguments)],
        cwd=cwd,
        env=full,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 120) -> Outcome:
    """Wait for a command; after `seconds` it and its children are killed, and its code is None."""
    began = time.monotonic()
    try:
        output, _ = process.communicate(timeout=seconds)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        code = None
    return Outcome(code, output, time.monotonic() - began)


def survivors(marker: str) -> list[str]:
    """Command lines of the processes still running that carry `marker` in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
