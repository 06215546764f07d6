"""Ctrl-C ends a command wherever it falls."""

import _thread
import time

import pytest

from dtql_robot.system.interrupts import redelivered_interrupts


class Closing:
    """Something with a destructor, as files of libraries have, in which an interrupt falls."""

    def __del__(self):
        _thread.interrupt_main()
        for _ in range(1000):
            pass


@pytest.mark.slow
def test_an_interrupt_in_a_destructor_comes_again_and_nothing_is_printed(capsys):
    def work():
        thing = Closing()
        del thing
        time.sleep(5)

    with redelivered_interrupts(), pytest.raises(KeyboardInterrupt):
        work()
    assert capsys.readouterr().err == ""
