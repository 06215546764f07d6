"""Tasks that are sent away: order, repetitions, and what a cluster is told."""

import json

import pytest

from dtql_robot.cli import main
from dtql_robot.errors import InputError
from dtql_robot.eval.ranges import in_ranges
from dtql_robot.system.cluster import Finished, connect
from dtql_robot.system.cluster.remote_pool import LOSSES, MachineLostError, RemotePool
from dtql_robot.system.cluster.settings import ClusterSettings, read_settings
from dtql_robot.system.cluster.versions import CODE, difference, fingerprint
from dtql_robot.system.task_pool import Failed


class Here:
    """A sender that does tasks in this process, when they are waited for, the newest first."""

    def __init__(self, answer, chunk=1, at_once=3):
        self.answer, self.chunk, self.at_once, self.most = answer, chunk, at_once, 0
        self.cancelled = []

    def send(self, method, items):
        return (method, tuple(items))

    def wait(self, sent):
        self.most = max(self.most, len(sent))
        return [sent[-1]]

    def take(self, sent):
        return [self.answer(item) for item in sent[1]]

    def cancel(self, sent):
        self.cancelled.append(sent[1])


@pytest.mark.parametrize("chunk", [1, 4])
def test_results_come_in_order_and_few_at_a_time(chunk):
    sender = Here(lambda x: ("ok", 2 * x), chunk)
    pool = RemotePool(sender, 2, print)
    assert list(pool.map("double", range(30))) == [2 * x for x in range(30)]
    assert sender.most <= 3
    assert list(pool.map("double", [])) == []


def test_endless_work_is_taken_as_it_is_wanted():
    taken = []
    pool = RemotePool(Here(lambda x: ("ok", x)), 2, print)
    results = pool.map("double", (taken.append(x) or x for x in range(10**9)))
    assert [next(results) for _ in range(5)] == list(range(5))
    assert len(taken) < 40
    pool.close()


def test_a_lost_process_is_tried_again_and_then_failed():
    said, tries = [], []

    def answer(x):
        tries.append(x)
        return ("lost", "It died.") if x == 3 else ("ok", x)

    found = list(RemotePool(Here(answer, chunk=2), 2, said.append).map("double", range(6)))
    assert found == [0, 1, 2, Failed(3, "It died."), 4, 5]
    assert tries.count(3) == 3
    assert said == ["It died. Its work is repeated (1 of 2).", "It died. Its work is repeated (2 of 2)."]


def test_lost_machines_are_no_fault_of_the_task():
    lost = [0]

    def answer(x):
        if x == 2 and lost[0] < 10:
            lost[0] += 1
            raise MachineLostError("A machine was lost.")
        return ("ok", x)

    said = []
    assert list(RemotePool(Here(answer), 0, said.append).map("double", range(4))) == [0, 1, 2, 3]
    assert said[-1] == f"A machine was lost. Its work is repeated (10 of {LOSSES})."


def test_a_users_mistake_ends_all():
    pool = RemotePool(Here(lambda x: ("input_error", "No such task.")), 2, print)
    with pytest.raises(InputError, match="No such task"):
        list(pool.map("double", range(9)))
    pool.close()
    assert pool._sender.cancelled


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "holds list; expected an object"),
        ('{"cpu": 1}', "has 'cpu'. Did you mean cpus"),
        ('{"cpus": -1}', "'cpus' is -1; expected a number of 0 or more"),
        ('{"cpus": "2"}', "'cpus' is '2'"),
        ('{"retries": 1.5}', "a whole number of 0 or more"),
        ('{"chunk": 0}', "a whole number of 1 or more"),
        ('{"gpus": NaN}', "'gpus' is nan"),
        ('{"shared": 1}', "'shared' is 1; expected true, false or null"),
        ('{"slurm": []}', "expected parameters by their names"),
    ],
)
def test_wrong_configurations_are_one_sentence(text, sentence, tmp_path):
    path = tmp_path / "cluster.json"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_settings(path)


def test_configurations_that_are_right(tmp_path):
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps({"cpus": 2, "gpus": 0.25, "memory_gb": 1.5, "slurm": {"slurm_partition": "cpu"}}))
    assert read_settings(path) == ClusterSettings(2, 0.25, 1.5, slurm={"slurm_partition": "cpu"})
    assert read_settings(None) == ClusterSettings()


def test_a_configuration_needs_a_cluster_and_must_be_there(tmp_path):
    with pytest.raises(InputError, match="name the cluster with --cluster too"), connect(None, tmp_path / "c.json"):
        pass
    with pytest.raises(InputError, match="cannot be read"), connect("slurm", tmp_path / "c.json"):
        pass


def test_a_missing_package_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for where, package in (("auto", "ray"), ("slurm", "submitit")):
        with pytest.raises(InputError, match=f"needs the package {package}: `pip install"), connect(where):
            pass


def test_one_training_needs_no_cluster(tmp_path, capsys):
    pytest.importorskip("submitit", reason='needs pip install "dtql-robot[cluster]" (submitit)')
    words = ["train", "--data", "any.hdf5", "--out", str(tmp_path / "run"), "--cluster", "slurm"]
    config = tmp_path / "c.json"
    config.write_text('{"slurm": {"executor": "local"}, "folder": "%s"}' % (tmp_path / "jobs"))
    assert main([*words, "--cluster-config", str(config)]) == 2
    assert "name them with --seeds" in capsys.readouterr().err


def test_versions_that_differ_are_one_sentence():
    mine = fingerprint()
    assert difference("Machine a", dict(mine), mine) is None
    assert set(mine) >= {"Python", CODE, "torch", "mujoco"}
    other = {**mine, "mujoco": "3.0.0", CODE: "0" * 12}
    del other["torch"]
    said = difference("Machine a", other, mine)
    assert said is not None
    assert said.startswith("Machine a would give other results: it has ")
    assert f"mujoco 3.0.0 (here {mine['mujoco']})" in said
    assert f"torch missing (here {mine['torch']})" in said
    assert said.count(". ") == 0


def test_what_is_finished_is_read_again_but_for_a_line_that_was_cut_off(tmp_path):
    recipe = {"seed": 0, "sizes": (1, 2)}
    first = Finished.beside(tmp_path / "out.hdf5", recipe)
    first.add_line({"n": 1})
    first.add_line({"n": 2})
    with open(first.path("parts.jsonl"), "ab") as file:
        file.write(b'{"n": ')
    second = Finished.beside(tmp_path / "out.hdf5", recipe)
    assert list(second.lines()) == [{"n": 1}, {"n": 2}]
    second.add_line({"n": 3})
    second.add_line({"n": 4})
    assert [line["n"] for line in Finished.beside(tmp_path / "out.hdf5", recipe).lines()] == [1, 2, 3, 4]
    other = Finished.beside(tmp_path / "out.hdf5", {"seed": 1})
    assert list(other.lines()) == []
    with pytest.raises(InputError, match="holds parts of other work"):
        Finished(first.folder, {"seed": 2})
    second.remove()
    assert not first.folder.exists()


@pytest.mark.parametrize(("episodes", "slots", "largest"), [(8, 2, 1), (100, 2, 13), (1000, 2, 25), (1, 64, 1)])
def test_ranges_hold_every_episode_once(episodes, slots, largest):
    ranges = in_ranges(range(episodes), slots)
    assert [seed for part in ranges for seed in part] == list(range(episodes))
    assert max(map(len, ranges)) == largest
