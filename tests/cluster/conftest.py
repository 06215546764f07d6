"""What one process makes, once for all tests of this folder."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import cluster_work
from tests.helpers.cluster_work import BENCH, EPISODES, RUN, TINY

RAY_MISSING = "Ray does not start here"


@dataclasses.dataclass(frozen=True)
class One:
    """What one process gives.

    data, run   demonstrations, and a tiny run that is trained on them
    lift        a real recording of simulator states; None where it or robosuite is missing
    collect, convert: digests of files;  eval: its episodes;  bench: its table
    """

    data: Path
    run: Path
    lift: Path | None
    collect: str
    eval: list[dict]
    convert: str | None
    bench: dict[str, object]


@pytest.fixture(scope="package")
def one(tmp_path_factory, request) -> One:
    """All four pieces of work in this process, by the commands that a user calls."""
    from dtql_robot.cli import main

    folder = tmp_path_factory.mktemp("one")
    data, out = folder / "bench" / "data" / "reach.hdf5", folder / "bench"
    data.parent.mkdir(parents=True)
    collected = cluster_work.collect(data, "--workers", "1")
    run = out / RUN
    train = ["train", "--data", str(data), "--out", str(run), "--preset", "mse-bc", "--seed", "0", *TINY]
    assert main(train) == 0
    assert main(["eval", str(run), "--episodes", "3", "--workers", "1"]) == 0
    assert main(["bench", "smoke", "--out", str(out), *BENCH]) == 0  # what is done is put into the table
    table = cluster_work.without_times(out)
    played = cluster_work.evaluate(run, "--workers", "1")
    assert len(played) == EPISODES
    lift = _lift(request)
    converted = None if lift is None else cluster_work.convert(lift, folder / "lift.hdf5", "--workers", "1")
    return One(data, run, lift, collected, played, converted, table)


def _lift(request: pytest.FixtureRequest) -> Path | None:
    try:
        import robosuite  # noqa: F401

        path = request.getfixturevalue("real_data") / cluster_work.LIFT
    except (ImportError, pytest.skip.Exception):
        return None
    return path if path.is_file() else None


def wait_for(what: Callable[[], object], seconds: float = 600) -> None:
    """Wait until `what()` is true; a test that waits longer has failed, however busy the machine is."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
