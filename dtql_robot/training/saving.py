"""The checkpoints of one or several runs, on disk as one: all of the same update, even if the process is killed.

Each is first written under another name, `NEXT`, on room that was set aside when training began.  Once all are whole
they take their names one after the other, and a process that is killed in between leaves what `complete` needs to
finish the job.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dtql_robot import checkpoint
from dtql_robot.errors import InputError
from dtql_robot.run_folder import CHECKPOINT
from dtql_robot.system.interrupts import Interrupts
from dtql_robot.training.run import Run

NEXT = f".{CHECKPOINT}.next"
"""Name of a checkpoint before all of its save are written."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WAITS = (1.0, 3.0, 6.0)
"""Seconds between attempts to write what would otherwise be lost."""


def complete(folders: Sequence[Path]) -> None:
    """Finish a save of several runs that was cut short after all of it was written."""
    steps = {folder: checkpoint.step_of(folder / CHECKPOINT) for folder in folders}
    newest = max((s for s in steps.values() if s is not None), default=None)
    for folder, step in steps.items():
        if len(folders) > 1 and step != newest and checkpoint.step_of(folder / NEXT) == newest:
            os.replace(folder / NEXT, folder / CHECKPOINT)


@dataclass
class Saver:
    """Saves all runs.  Use it as a context: it sets room aside, and gives it back at the end.

    saved: the update whose checkpoints are on disk; None before the first save.
    """

    runs: Sequence[Run]
    saved: int | None = None
    _files: dict[Path, int] = field(default_factory=dict)

    def __enter__(self) -> Saver:
        """InputError where there is no room for the checkpoints."""
        try:
            self._set_aside(strict=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for folder in list(self._files):
            os.close(self._files.pop(folder))
            with contextlib.suppress(OSError):
                (folder / NEXT).unlink()

    def save(self, interrupts: Interrupts, *, last: bool) -> None:
        """Write the agents as they are.

        FloatingPointError where weights are not finite: the checkpoints on disk stay.  Where they cannot be written,
        training goes on and they stay; the last ones are tried for again for a while, then it is an OSError.
        """
        for run in self.runs:
            checkpoint.require_finite(run.agent, kept(self.saved))
        attempts = [*WAITS, None] if last else [None]
        for wait in attempts:
            try:
                self._write_all()
                self.saved = self.runs[0].agent.step
                break
            except OSError as error:
                if wait is None and last:
                    raise
                self._tell(error, wait)
                if not _slept(wait or 0.0, interrupts):
                    raise
        if not last:
            self._set_aside(strict=False)

    def _write_all(self) -> None:
        for run in self.runs:
            with _named(run.folder / CHECKPOINT):
                content = checkpoint.to_bytes(run.agent, run.fitted())
                file = self._files.get(run.folder)
                if file is None:
                    file = self._files[run.folder] = _open_new(run.folder / NEXT)
                _write(file, content)
        for run in self.runs:
            with _named(run.folder / CHECKPOINT):
                os.replace(run.folder / NEXT, run.folder / CHECKPOINT)
                os.close(self._files.pop(run.folder))

    def _tell(self, error: OSError, wait: float | None) -> None:
        then = "training goes on" if wait is None else f"trying again in {wait:.0f} s"
        step = self.runs[0].agent.step
        print(f"\nupdate {step} could not be saved ({error.strerror}): {kept(self.saved)}; {then}.", file=sys.stderr)

    def _set_aside(self, strict: bool) -> None:
        """Have the disk keep room for the next checkpoints.  strict: InputError where it has none."""
        for run in self.runs:
            size = checkpoint.estimated_size(run.agent)
            try:
                with _named(run.folder / CHECKPOINT):
                    self._files[run.folder] = _open_new(run.folder / NEXT)
                    _allocate(self._files[run.folder], size)
            except OSError as error:
                if strict and error.errno in NO_ROOM:
                    raise InputError(
                        f"{run.folder}: there is no room for a checkpoint of {size / 1e6:.0f} MB "
                        f"({error.strerror}); free some space, or choose another --out."
                    ) from error
                if strict and run.folder not in self._files:
                    raise InputError(f"{run.folder} cannot be written: {error.strerror}.") from error


def kept(saved: int | None) -> str:
    """What is on disk after a save that failed."""
    return "nothing was saved" if saved is None else f"the checkpoint of update {saved} is kept"


def _slept(seconds: float, interrupts: Interrupts) -> bool:
    """Wait; False where a signal asked to stop meanwhile."""
    before, end = interrupts.count, time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        if interrupts.count > before:
            return False
    return True


def _open_new(path: Path) -> int:
    """A new file of our own under a name that may be taken by what a killed process left."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _allocate(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise


def _write(file: int, content: memoryview) -> None:
    done = 0
    while done < len(content):
        done += os.pwrite(file, content[done:], done)
    os.ftruncate(file, len(content))
    os.fsync(file)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """OSErrors of descriptors, with the name of what is written."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
