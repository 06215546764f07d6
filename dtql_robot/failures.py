"""What the command line says of an exception, and its exit code: 2 where the user's input is wrong, 1 for all else."""

from __future__ import annotations

import errno
import os
import sys

from dtql_robot.errors import InputError, MissingOutputError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
USERS_PATH = {
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV, errno.ENXIO),
}
"""What goes wrong with a path that a user gave."""


def explain(error: BaseException) -> tuple[str, int] | None:
    """(one sentence, exit code) for a failure that is no fault of this package; None where a traceback helps more."""
    if isinstance(error, InputError):
        return error.as_option(), 2
    if isinstance(error, MissingOutputError):
        return str(error), 1
    if isinstance(error, KeyboardInterrupt):
        return " ".join(["interrupted.", *interrupt_notes(error)]), 1
    if isinstance(error, OSError):
        return _operating_system(error)
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return f"a name contains bytes that are not text ({error.object!r}); rename it.", 2
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # Path.expanduser
        return "a path starts with the home folder (~) of a user that does not exist; write it out.", 2
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # Path.resolve, before Python 3.13
        return f"{str(error).removeprefix('Symlink loop from ')} is a link that leads back to itself.", 2
    if isinstance(error, FloatingPointError):
        return str(error), 1
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "memory ran out; use fewer or smaller networks, a smaller --batch-size, or a machine with more.", 1
    if _is_worker_error(error):
        return str(error), 1
    return None


def interrupt_notes(error: BaseException) -> list[str]:
    """What an interrupt has to tell; of one that came while another was on its way, what that one has."""
    on_its_way: BaseException | None = error
    while isinstance(on_its_way, KeyboardInterrupt):
        if hasattr(on_its_way, "__notes__"):
            return list(on_its_way.__notes__)
        on_its_way = on_its_way.__context__
    return []


def _operating_system(error: OSError) -> tuple[str, int] | None:
    code = error.errno or next((c for c in NO_ROOM if os.strerror(c) in str(error)), None)
    if code is None:
        return None
    where = " and ".join(str(n) for n in (error.filename, error.filename2) if n is not None)
    if code in NO_ROOM:
        return f"{where or 'a file'} could not be written: {os.strerror(code)}; free some space and try again.", 1
    if not where:
        return None
    return f"{where}: {os.strerror(code)}.", 2 if code in USERS_PATH else 1


def _is_worker_error(error: BaseException) -> bool:
    """A worker's own words are in it.  The class is looked up, not imported: most commands start no worker."""
    module = sys.modules.get("dtql_robot.system.workers")
    return module is not None and isinstance(error, module.WorkerError)
