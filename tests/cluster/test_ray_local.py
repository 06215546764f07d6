"""`--cluster local`: Ray that a command starts on this machine, and ends."""

import contextlib
import json
import shutil

import pytest

pytest.importorskip("ray", reason='needs pip install "dtql-robot[cluster]" (ray)')

import ray

from dtql_robot.cli import main
from dtql_robot.errors import InputError
from dtql_robot.system.cluster import connect
from dtql_robot.system.cluster.connect import STARTS, start_ray
from dtql_robot.system.cores import usable_cores
from dtql_robot.system.workers import WorkerError
from tests.cluster.conftest import RAY_MISSING, One
from tests.helpers import cluster_work

PORT_FILE = "Timed out waiting for file /tmp/ray/session_1/gcs_server_port_a8f6"
LATE = "The current node timed out during startup. This could happen because some of the raylet failed to startup"


@pytest.mark.slow
@pytest.mark.simulator
@pytest.mark.timeout(1800)
def test_ray_on_this_machine_gives_what_one_process_gives(one: One, tmp_path, capsys):
    """Through one start of Ray; a command that finds it started leaves it so."""
    (tmp_path / "one.json").write_text(json.dumps({"cpus": usable_cores()}))  # one task at once
    words = ("--cluster", "local", "--cluster-config", str(tmp_path / "one.json"))
    with contextlib.ExitStack() as stack:
        try:
            assert stack.enter_context(connect("local")).slots == usable_cores()  # waits until Ray has started
        except WorkerError:
            pytest.skip(RAY_MISSING)
        assert cluster_work.collect(tmp_path / "reach.hdf5", *words) == one.collect
        assert cluster_work.evaluate(shutil.copytree(one.run, tmp_path / "run"), *words) == one.eval
        assert cluster_work.bench(tmp_path / "bench", one.data, *words) == one.bench
        if one.lift is not None:
            assert cluster_work.convert(one.lift, tmp_path / "lift.hdf5", *words) == one.convert
        run, apart = str(tmp_path / "run"), tmp_path / "apart.json"
        assert cluster_work.collect(tmp_path / "acted.hdf5", "--policy", run, *words) == cluster_work.collect(
            tmp_path / "acted_here.hdf5", "--policy", run, "--workers", "1"
        )
        apart.write_text(json.dumps({"shared": False}))
        unseen = ["collect", "FetchReach-v4", "--policy", run, "--out", str(tmp_path / "unseen.hdf5")]
        assert main([*unseen, *words[:2], "--cluster-config", str(apart)]) == 2
        assert "is not there on all machines" in capsys.readouterr().err
        assert ray.is_initialized()
    assert not ray.is_initialized()


@pytest.mark.parametrize("said", [PORT_FILE, LATE])
def test_a_ray_that_was_too_slow_is_started_again(said, monkeypatch):
    starts = []

    def init(**options):
        starts.append(options["address"])
        if len(starts) < STARTS:
            raise RuntimeError(said)

    monkeypatch.setattr(ray, "init", init)
    for where in ("local", "10.0.0.1:6379"):
        starts.clear()
        start_ray(where)
        assert starts == [where] * STARTS


def test_a_ray_that_never_starts_is_one_sentence(monkeypatch):
    def init(**options):
        raise RuntimeError(LATE if options["address"] == "local" else "no such address")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(WorkerError, match=f"Ray did not start, {STARTS} times .*timed out during startup"):
        start_ray("local")
    with pytest.raises(InputError, match=r"no Ray cluster can be reached .*no such address"):
        start_ray("10.0.0.1:6379")
