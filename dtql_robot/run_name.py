"""A run as it is typed: its folder, and the checkpoint in it, as in runs/pick@best."""

from __future__ import annotations

from pathlib import Path

from dtql_robot.errors import InputError

CHECKPOINT = "checkpoint.pt"
"""The checkpoint that a training ends with and goes on from."""

LAST = "last"
"""Its name, and what is meant where none is named."""


def split_checkpoint(run: Path) -> tuple[Path, str]:
    """ "runs/pick@best" -> (runs/pick, "best"); "last" where no checkpoint is named.

    InputError for a name that no checkpoint has: last, best, or the number of an update.
    """
    folder, at, name = run.name.rpartition("@")
    if not at or run.exists():
        return run, LAST
    if name not in (LAST, "best") and not (name.isascii() and name.isdecimal()):
        raise InputError(
            f"{run} does not name a checkpoint; expected RUN@best, RUN@last or RUN@N, where N is an update number."
        )
    return run.with_name(folder) if folder else run.parent, name if name in (LAST, "best") else str(int(name))


def checkpoint_file(run: Path, name: str = LAST) -> Path:
    """Where a run folder has its last checkpoint, that of its best evaluation ("best"), or of an update ("5000")."""
    return run / (CHECKPOINT if name == LAST else f"{Path(CHECKPOINT).stem}-{name}.pt")


def at_checkpoint(run: Path, name: str) -> Path:
    """Inverse of `split_checkpoint`: runs/pick@best, or the folder itself for its last checkpoint."""
    return run if name == LAST else run.with_name(f"{run.name}@{name}")


def of_checkpoint(file: str, name: str) -> str:
    """The name of a file of an evaluation, of the checkpoint it is about: results.json, results-best.json."""
    path = Path(file)
    return file if name == LAST else f"{path.stem}-{name}{path.suffix}"
