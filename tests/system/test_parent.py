"""A process that was started to end with its parent does so, also where the parent is killed."""

import os
import subprocess
import sys
import time

import pytest

from dtql_robot.system.launch import SAFE

PARENT = """
import subprocess, time
from dtql_robot.system.launch import command
child = subprocess.Popen([*command("http.server", end_with_this=True), "0", "--bind", "127.0.0.1"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
time.sleep(1)
print(child.pid, flush=True)
time.sleep(100)
"""


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_a_child_ends_with_its_killed_parent():
    parent = subprocess.Popen([sys.executable, *SAFE, "-c", PARENT], stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    assert is_there(child)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while is_there(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)
