"""`bench own`: methods compared on demonstrations of the user's, in the environment that these name."""

import json

import pytest

from dtql_robot.cli import main
from dtql_robot.commands import bench
from dtql_robot.commands.bench_data import collect_data
from dtql_robot.datasets import save_robomimic
from dtql_robot.errors import InputError
from dtql_robot.experiments.own import own_tasks
from dtql_robot.experiments.suites import suite
from dtql_robot.experiments.table import Cell
from dtql_robot.experiments.verdict import verdicts

TINY = ("--train-args=--steps=20", "--train-args=--batch-size=32", "--train-args=--denoiser-width=16")

TASK = "cube-single-play-singletask-task2-v0"


def cell(method, *rates, task="lift", **more):
    return Cell(task, method, tuple(range(len(rates))), rates, 100, (1.0,) * len(rates), (1.0,) * len(rates), **more)


def test_a_data_set_is_a_task_by_the_name_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("lift.hdf5", "more door.h5", "push.zarr.zip", "cube-single-play-v0.npz"):
        (tmp_path / name).touch()
    (tmp_path / "recorded").mkdir()
    given = ("~/lift.hdf5", f"{tmp_path}/lift.hdf5,~/more door.h5", "~/push.zarr.zip", "~/recorded", f"~/{TASK}.npz")
    found = own_tasks((*given, "minari:D4RL/pen/human-v2"), "AdroitHandDoor-v1")
    assert {task.name: str(path) for task, path in found.items()} == {
        "lift": f"{tmp_path}/lift.hdf5",
        "lift-more-door": f"{tmp_path}/lift.hdf5,{tmp_path}/more door.h5",
        "push": f"{tmp_path}/push.zarr.zip",
        "recorded": f"{tmp_path}/recorded",
        TASK: f"{tmp_path}/{TASK}.npz",  # whose rewards are computed from the recording beside it
        "D4RL-pen-human-v2": "minari:D4RL/pen/human-v2",
    }
    assert {task.by_name for task in found} == {"", "minari:D4RL/pen/human-v2"}
    assert {task.options for task in found} == {("--env", "AdroitHandDoor-v1")}


def test_two_data_sets_of_one_name_are_told_apart_by_the_user(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "low_dim.hdf5").touch()
    with pytest.raises(InputError, match=r"a/low_dim.hdf5 and .*b/low_dim.hdf5 would both be called low_dim"):
        own_tasks((f"{tmp_path}/a/low_dim.hdf5", f"{tmp_path}/b/low_dim.hdf5"), None)


def test_what_is_missing_is_said_before_anything_runs(tmp_path, demos, capsys):
    nameless = tmp_path / "nameless.hdf5"
    save_robomimic(demos, nameless)
    out = str(tmp_path / "bench")
    for words, sentence in (
        (["own"], "name them with --data demos.hdf5"),
        (["own", "--data", f"{tmp_path}/no.hdf5"], f"--data: there is no {tmp_path}/no.hdf5."),
        (["own", "--data", str(nameless)], "nameless.hdf5 names no environment; pass the one"),
        (["smoke", "--data", str(nameless)], "--data and --env are for the suite own"),
        (["smoke", "--env", "FetchReach-v4"], "--data and --env are for the suite own"),
        ([str(nameless)], f"is no suite; to compare methods on it: bench own --data {nameless}"),
        (["own", "--data", str(nameless), "--tasks", "lift"], "--tasks: there is no lift; choose from nameless"),
    ):  # fmt: skip
        assert main(["bench", *words, "--out", out]) == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "bench").exists()


@pytest.mark.slow
def test_a_file_of_the_users_becomes_a_table_and_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "estimate", lambda *_: 1.0)  # which another test is about
    data = tmp_path / "my reach.hdf5"
    collect_data(suite("smoke")[0], data)
    words = ["bench", "own", "--data", str(data), "--out", str(tmp_path / "bench"), "--methods", "dtql", "mse-bc"]
    assert main([*words, "--seeds", "0", "--episodes", "2", *TINY]) == 0
    said = capsys.readouterr().out
    assert "| my-reach | dtql |" in said
    assert said.count("my-reach: ") == 1
    assert "has the highest success" in said
    found = json.loads((tmp_path / "bench" / "results" / "my-reach-mse-bc-seed0.json").read_text())
    assert (found["run"]["env"], found["run"]["data"]) == ("FetchReach-v4", "my reach.hdf5")
    assert main([*words, "--seeds", "0", "--episodes", "2", *TINY]) == 0
    assert "0 of 2 runs to do" in capsys.readouterr().out


def test_a_verdict_names_the_best_and_what_its_interval_does_not_tell_from_it():
    cells = [cell("dtql", 0.9, 0.92, 0.91), cell("no-q", 0.88, 0.9, 0.92), cell("mse-bc", 0.2, 0.25, 0.22)]
    assert verdicts(cells) == ["lift: dtql has the highest success; not told apart from it: no-q."]
    assert verdicts([cells[2], cells[0]]) == ["lift: dtql has the highest success; all others are below its interval."]
    assert verdicts([cells[0], cell("no-q", 0.5, task="door")]) == [], "one method alone is not compared"
    returns = cell("iql", 40.0, measure="return", values=((39.0, 41.0),))
    assert verdicts([cells[0], returns]) == [], "two measures cannot be compared"
