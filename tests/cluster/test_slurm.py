"""Slurm by submitit, whose local executor runs the same jobs as processes of this machine."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("submitit", reason='needs pip install "dtql-robot[cluster]" (submitit)')

from dtql_robot.cli import main
from dtql_robot.errors import InputError
from dtql_robot.system.cluster import connect
from tests.cluster.conftest import One
from tests.helpers import cluster_work

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


class Victim:
    """Runs inside a job's worker; kills the whole job the first time."""

    def __init__(self, marker: str) -> None:
        self._marker = Path(marker)

    def double(self, x: int) -> int:
        if x == 2 and not self._marker.exists():
            self._marker.write_text("")
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return 2 * x


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "cluster.json"
    content = {"slurm": {"executor": "local"}, "folder": str(tmp_path / "jobs"), "chunk": 4, "jobs": 2}
    path.write_text(json.dumps(content))
    return path


def test_seeds_are_trained_as_each_is_by_itself(one: One, config, tmp_path):
    words = ["--seeds", "0", "--preset", "mse-bc", *cluster_work.TINY, "--cluster", "slurm"]
    data = ["--data", str(one.data), "--out", str(tmp_path / "runs"), "--cluster-config", str(config)]
    assert main(["train", *data, *words]) == 0
    found = tmp_path / "runs" / "seed0" / "metrics.csv"
    first, second = (
        [line.split(",")[2:] for line in path.read_text().splitlines()] for path in (found, one.run / "metrics.csv")
    )
    assert first == second


def test_a_job_that_is_killed_is_done_again(config, tmp_path):
    said: list[str] = []
    with connect("slurm", config) as cluster:
        assert cluster is not None
        args = (str(tmp_path / "killed"),)
        pool = cluster.pool("tests.cluster.test_slurm:Victim", args, timeout=60, report=said.append)
        assert list(pool.map("double", range(5))) == [0, 2, 4, 6, 8]
        pool.close()
    assert any("A job of the cluster was lost" in sentence for sentence in said)


def test_parameters_that_slurm_has_not_are_one_sentence(tmp_path, capsys):
    path = tmp_path / "cluster.json"
    path.write_text(
        json.dumps({"slurm": {"executor": "local", "partition_name": "cpu"}, "folder": str(tmp_path / "j")})
    )
    with pytest.raises(InputError, match=r"--cluster slurm: .*partition_name"), connect("slurm", path):
        pass


def test_a_machine_without_slurm_is_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["collect", "FetchReach-v4", "--out", str(tmp_path / "a.hdf5"), "--cluster", "slurm"]) == 2
    assert "Run it where Slurm's commands are" in capsys.readouterr().err
    assert not (tmp_path / "a.hdf5").exists()
