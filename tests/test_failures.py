"""Exceptions become sentences and exit codes."""

import errno

import pytest

from dtql_robot.errors import InputError
from dtql_robot.failures import explain


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (InputError("the file is empty"), "the file is empty", 2),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), "/tmp/x could not be written", 1),
        (OSError("Can't write data (error message = 'No space left on device')"), "free some space", 1),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "/root/x: Permission denied", 2),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), "File name too long", 2),
        (OSError(errno.EIO, "Input/output error", "/mnt/x"), "/mnt/x: Input/output error", 1),
        (FloatingPointError("q_loss became NaN"), "q_loss became NaN", 1),
        (MemoryError(), "memory ran out", 1),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory ran out", 1),
        (KeyboardInterrupt(), "interrupted", 1),
        (RuntimeError("Could not determine home directory."), "a user that does not exist", 2),
        (RuntimeError("Symlink loop from '/x/run'"), "'/x/run' is a link that leads back to itself", 2),
    ],
)
def test_what_is_not_our_fault_is_a_sentence(error, words, code):
    sentence, found = explain(error)
    assert words in sentence
    assert found == code
    assert "\n" not in sentence


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("x"), SystemExit(3), OSError("no number, no name")])
def test_what_may_be_our_fault_keeps_its_traceback(error):
    assert explain(error) is None


def test_a_workers_failure_is_its_own_words():
    from dtql_robot.system.workers import WorkerError

    assert explain(WorkerError("the simulator stopped: boom")) == ("the simulator stopped: boom", 1)


def test_an_interrupt_during_another_tells_what_the_first_one_tells():
    """Ctrl-C twice: the second falls into the end of the first, and what was saved is still said."""

    def twice():
        first = KeyboardInterrupt()
        first.__notes__ = ["Update 9 is saved."]
        try:
            raise first
        finally:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as second:
        twice()
    assert explain(second.value) == ("interrupted. Update 9 is saved.", 1)
