"""Run folders that are about to be written: checked before the work, and one process's alone while it lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dtql_robot.errors import InputError
from dtql_robot.run_folder import (
    CHECKPOINT,
    CONFIG,
    CURVES,
    DATASET,
    METRICS,
    REPORT,
    RESULTS,
    TRACKED,
    seed_folder,
    seed_runs,
)
from dtql_robot.system.locks import locked

WRITTEN = (
    *(f"{Path(CHECKPOINT).stem}.pt", f"{Path(CHECKPOINT).stem}-best.pt", f"{Path(CHECKPOINT).stem}-[0-9]*.pt"),
    *(CONFIG, METRICS, DATASET, CURVES, TRACKED, RESULTS, REPORT, "results-best.json", "report-best.html"),
    *("results-[0-9]*.json", "report-[0-9]*.html", "results/*.json", "results/*.html", "clips/*.mp4"),
)
"""What a run folder holds that belongs to its run.  Videos have names of the user's, and stay."""


@contextmanager
def claimed(
    out: Path, seed: int, seeds: Sequence[int] = (), *, resume: bool = False, overwrite: bool = False
) -> Iterator[dict[int, Path]]:
    """Seed -> its run folder: `out`, or one in it for each of several `seeds`.  They are there and can be written.

    InputError where a folder cannot be written, holds a run that is neither to be resumed nor replaced, or is another
    process's.
    Folders that were made and stay empty are gone afterwards.
    """
    if resume and overwrite:
        raise InputError("--resume continues the run in --out and --overwrite replaces it; use only one of them.")
    _refuse_mixing(out, bool(seeds))
    folders = {s: seed_folder(out, s) for s in seeds} or {seed: out}
    if not (resume or overwrite):
        for folder in folders.values():
            _refuse_run(folder)
    with ExitStack() as stack:
        for folder in folders.values():
            stack.enter_context(_made(folder))
            stack.enter_context(locked(folder / CHECKPOINT))
        if not (resume or overwrite):
            for folder in folders.values():  # another process may have been first
                _refuse_run(folder)
        yield folders


def _refuse_run(folder: Path) -> None:
    with _as_input_error(folder):
        if (folder / CHECKPOINT).exists():
            raise InputError(
                f"{folder} already contains a run; continue it with --resume, replace it with --overwrite, or choose "
                "another --out."
            )


def clear(folder: Path) -> None:
    """Remove the files of the run that a folder holds, and nothing else: what training and evaluation wrote there."""
    kept = [path for pattern in WRITTEN for path in folder.glob(pattern)]
    for path in kept:
        if path.is_file() or path.is_symlink():
            path.unlink()


def _refuse_mixing(out: Path, several: bool) -> None:
    """A folder holds one run, or the runs of several seeds."""
    with _as_input_error(out):
        if several and (out / CONFIG).exists():
            raise InputError(f"{out} contains a single run; choose another --out for the runs of several seeds.")
        if not several and seed_runs(out):
            raise InputError(f"{out} holds the runs of several seeds; choose another --out for a single run.")


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder and those it is in; those that were missing and are empty in the end are removed."""
    missing = []
    with _as_input_error(folder):
        for path in (folder, *folder.parents):
            if path.is_dir():
                break
            if path.exists() or path.is_symlink():
                raise InputError(f"{path} is not a folder; --out names the folder that the run is written to.")
            missing.append(path)
    try:
        with _as_input_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in missing:
            with contextlib.suppress(OSError, ValueError):
                path.rmdir()


@contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path} cannot be written: {reason}; choose another --out.") from error
