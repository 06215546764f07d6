"""Ray: several machines give what one process gives, whatever happens to a machine or to the process that asks."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason='needs pip install "dtql-robot[cluster]" (ray)')

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dtql_robot.cli import main
from dtql_robot.errors import InputError
from dtql_robot.run_folder import read_results
from dtql_robot.system.cluster import connect, ray_sender
from dtql_robot.system.cluster.connect import start_ray
from dtql_robot.system.cluster.versions import fingerprint
from dtql_robot.system.workers import WorkerError
from tests.cluster.conftest import RAY_MISSING, One, wait_for
from tests.helpers import cluster_work

pytestmark = [pytest.mark.slow, pytest.mark.simulator, pytest.mark.timeout(1800)]
AUTO = ("--cluster", "auto")


def add_machine(cluster):
    """Ray gives up on a machine that is not there within 30 seconds; a busy one takes longer now and then."""
    for _ in range(4):
        with contextlib.suppress(Exception):
            return cluster.add_node(num_cpus=1, include_dashboard=False)
    pytest.fail("Ray adds no machine")


def alive() -> list[str]:
    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]


@pytest.fixture(scope="module")
def machines():
    """A Ray cluster of one machine with one core, to which this process is connected."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster()
    try:
        add_machine(cluster)
        start_ray(cluster.address)
    except (pytest.fail.Exception, WorkerError):
        cluster.shutdown()
        pytest.skip(RAY_MISSING)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@contextlib.contextmanager
def second_one_is_removed(machines, folder: Path, after: int) -> Iterator[None]:
    """A second machine is removed while it does a task, having done `after`; until then the first is busy."""
    second = add_machine(machines)
    wait_for(lambda: len(alive()) == 2)
    busy, go, stuck, over = folder / "busy", folder / "go", folder / "stuck", threading.Event()

    def occupy() -> None:
        import time

        busy.touch()
        while not go.exists():
            time.sleep(0.05)

    def remove() -> None:
        while not stuck.exists() and not over.wait(0.05):
            pass
        machines.remove_node(second, allow_graceful=False)
        go.touch()

    first = NodeAffinitySchedulingStrategy(machines.head_node.node_id, soft=False)
    occupied = ray.remote(occupy).options(scheduling_strategy=first).remote()
    wait_for(busy.exists)
    thread = threading.Thread(target=remove)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_sender, "run_tasks", cluster_work.stuck(stuck, after, second.node_id))
        try:
            yield
        finally:
            over.set()
            thread.join()
            ray.get(occupied)
            wait_for(lambda: len(alive()) == 1)
    assert stuck.exists()


def killed_on_the_way(machines, folder: Path, words: list[str], sent: signal.Signals) -> subprocess.CompletedProcess:
    """`dtql-robot WORDS` on the cluster, ended by a signal after two tasks, when all others are under way for ever."""
    path = os.pathsep.join(p for p in sys.path if p)
    arguments = [str(folder / "waiting"), "2", *words, "--cluster", machines.address]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.cluster_work", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )

    def has_part() -> bool:
        assert process.poll() is None, process.communicate()[0]
        return any(
            part.stat().st_size for name in ("*.npz", "parts.jsonl") for part in folder.rglob(f".*.parts/{name}")
        )

    wait_for(has_part)
    wait_for((folder / "waiting").exists)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=600)
    return subprocess.CompletedProcess(arguments, process.returncode, output)


@contextlib.contextmanager
def sent_tasks() -> Iterator[list]:
    """Items of the tasks that are sent meanwhile."""
    items, send = [], ray_sender.RaySender.send
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_sender.RaySender, "send", lambda *args: (items.extend(args[2]), send(*args))[1])
        yield items


def test_a_collection_outlives_its_process_and_a_machine(machines, one: One, tmp_path, capfd):
    out = tmp_path / "out" / "reach.hdf5"
    out.parent.mkdir()
    words = ["collect", "FetchReach-v4", "--episodes", str(cluster_work.EPISODES), "--out", str(out)]
    killed_on_the_way(machines, tmp_path, words, signal.SIGKILL)
    done = len(list(tmp_path.rglob("*.npz")))
    assert not out.exists()
    with second_one_is_removed(machines, tmp_path, after=1), sent_tasks() as sent:
        assert cluster_work.collect(out, *AUTO) == one.collect
    assert len(set(sent)) == cluster_work.EPISODES - done
    assert "Its work is repeated" in capfd.readouterr().err
    assert not list(tmp_path.rglob("*.parts"))


def test_an_evaluation_outlives_ctrl_c_and_a_machine(machines, one: One, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(one.run, run)
    (run / "results.json").unlink()
    words = ["eval", str(run), "--episodes", str(cluster_work.EPISODES)]
    interrupted = killed_on_the_way(machines, tmp_path, words, signal.SIGINT)
    assert interrupted.returncode == 1
    assert "interrupted" in interrupted.stdout
    wait_for(lambda: ray.available_resources().get("CPU", 0) == 1)  # nothing goes on
    (lines,) = run.rglob("parts.jsonl")
    done = {json.loads(line)["episode"]["seed"] for line in lines.read_text().splitlines()}
    with second_one_is_removed(machines, tmp_path, after=1), sent_tasks() as sent:
        assert cluster_work.evaluate(run, *AUTO) == one.eval
    assert done
    assert not done & {seed for seeds in sent for seed in seeds}
    assert any("was lost" in restart["reason"] for restart in read_results(run)["restarts"])
    assert not list(tmp_path.rglob("*.parts"))


def test_a_conversion_outlives_a_machine(machines, one: One, tmp_path, capfd):
    if one.lift is None:
        pytest.skip("needs robosuite, and a public file (DTQL_ROBOT_DATA)")
    with second_one_is_removed(machines, tmp_path, after=0):
        assert cluster_work.convert(one.lift, tmp_path / "lift.hdf5", *AUTO) == one.convert
    assert "Its work is repeated" in capfd.readouterr().err


def test_a_benchmark_outlives_a_machine_that_shares_no_folder(machines, one: One, tmp_path, capfd):
    (tmp_path / "apart.json").write_text('{"shared": false}')
    words = (*AUTO, "--cluster-config", str(tmp_path / "apart.json"))
    with second_one_is_removed(machines, tmp_path, after=0):
        assert cluster_work.bench(tmp_path / "bench", one.data, *words) == one.bench
    assert "Its work is repeated" in capfd.readouterr().err
    data = tmp_path / "bench" / "data" / "reach.hdf5"
    assert json.loads((tmp_path / "bench" / cluster_work.RUN / "config.json").read_text())["data"] == str(data)


def test_other_versions_are_one_sentence_before_any_work(machines, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(ray_sender, "fingerprint", lambda: {**fingerprint(), "mujoco": "9.9.9"})
    out = tmp_path / "reach.hdf5"
    assert main(["collect", "FetchReach-v4", "--episodes", "2", "--out", str(out), *AUTO]) == 2
    said = capsys.readouterr().err
    assert "would give other results: it has mujoco" in said
    assert "(here 9.9.9)" in said
    assert not out.exists()


def test_more_than_the_cluster_has_is_refused(machines, tmp_path):
    wants = tmp_path / "wants.json"
    wants.write_text('{"cpus": 64}')
    with connect("auto", wants) as cluster:
        assert cluster is not None
        with pytest.raises(InputError, match="A task needs 64 CPUs"):
            cluster.pool("any:thing", (), timeout=1, report=print)
