"""Worker processes that die, freeze, hang or raise cost time and nothing else."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from dtql_robot.errors import InputError
from dtql_robot.system import task_pool
from dtql_robot.system.task_pool import TRIES, Failed, TaskPool
from dtql_robot.system.workers import Worker, WorkerError


class Echo:
    """Runs inside a worker."""

    def __init__(self, fail: str | None = None, closed: str | None = None) -> None:
        self._closed = closed
        print("a line that must not reach the answers")
        if fail:
            raise InputError(fail)

    def double(self, x):
        print("nor this one")
        return 2 * x

    def once(self, job):
        """Ten times the number; the first time something happens instead."""
        number, how, marker = job
        if how and not Path(marker).exists():
            Path(marker).write_text(how)
            if how == "die":
                os._exit(3)
            if how == "freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
            if how == "hang":
                time.sleep(1000)
            raise ValueError("broken")
        return 10 * number

    def close(self) -> None:
        if self._closed:
            Path(self._closed).write_text("closed")

    def crash(self, code):
        os._exit(code)

    def torch_is_loaded(self, _):
        return "torch" in sys.modules


def worker(*args):
    folder = str(Path(__file__).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return Worker("test_task_pool:Echo", *args)


@pytest.fixture
def losses():
    return []


@pytest.fixture
def pool(losses):
    made = TaskPool(worker, 2, timeout=2.0, report=losses.append)
    with contextlib.closing(made):
        yield made


@pytest.mark.slow
def test_answers_come_in_order_from_workers_without_torch(pool, losses):
    assert list(pool.map("double", range(11))) == [2 * i for i in range(11)]
    assert list(pool.map("double", [])) == []
    assert list(pool.map("torch_is_loaded", [0, 0])) == [False, False]
    assert losses == []


def test_a_slow_item_does_not_let_the_others_run_away(pool):
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    results = pool.map("double", items())
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert len(taken) < 20


@pytest.mark.slow
@pytest.mark.parametrize("how", ["die", "freeze", "hang", "raise"])
def test_lost_work_is_done_again_and_the_results_are_the_same(pool, losses, how, tmp_path, monkeypatch):
    """Item 1 is the first of its worker, which has the time of a start to answer; here a start takes no time."""
    monkeypatch.setattr(task_pool, "STARTUP_SECONDS", 20.0)
    items = [(i, how if i in (1, 4) else None, str(tmp_path / f"{i}")) for i in range(8)]
    assert list(pool.map("once", items)) == [10 * i for i in range(8)]
    assert len(losses) == 2
    expected = {"die": "exit status", "raise": "ValueError: broken", "freeze": "stopped answering"}
    assert all(expected.get(how, "stopped answering") in loss for loss in losses)


def test_what_never_works_is_said_and_the_rest_is_done(pool, losses):
    results = list(pool.map("double", [1, None, 3]))
    assert (results[0], results[2]) == (2, 6)
    assert isinstance(results[1], Failed)
    assert results[1].item is None
    assert "TypeError: " in results[1].reason
    assert len(losses) == TRIES - 1


@pytest.mark.slow
def test_a_killed_worker_is_replaced(pool, losses):
    results = pool.map("double", range(20))
    assert next(results) == 0
    for slot in pool._slots:
        os.kill(slot.worker.pid, signal.SIGKILL)
    assert list(results) == [2 * i for i in range(1, 20)]
    assert losses


def test_closing_ends_the_workers_busy_or_not_and_they_close_what_they_hold(tmp_path):
    made = TaskPool(lambda: worker(None, str(tmp_path / "closed")), 1, timeout=30.0)
    assert list(made.map("double", [1])) == [2]
    pid = made._slots[0].worker.pid
    made.close()
    made.close()
    assert (tmp_path / "closed").read_text() == "closed"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    busy = TaskPool(worker, 1, timeout=30.0)
    next(busy.map("once", [(0, None, ""), (1, "hang", str(tmp_path / "hung"))]))
    start = time.monotonic()
    busy.close()
    assert time.monotonic() - start < 4


def test_a_workers_errors_reach_the_caller():
    refusing = worker("expected a robot")
    refusing.send("double", 1)
    with pytest.raises(InputError, match="expected a robot"):
        refusing.recv()
    failing = worker()
    failing.send("double", None)
    with pytest.raises(WorkerError, match="TypeError"):
        failing.recv()
    dying = worker()
    dying.send("crash", 3)
    with pytest.raises(WorkerError, match="exit status 3"):
        dying.recv()
    for w in (refusing, failing, dying):
        w.close()
        w.close()
