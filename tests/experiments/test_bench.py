"""`bench` runs its commands, resumes, and says what is wrong."""

import csv
import dataclasses
import json
import signal
import subprocess
import sys
import time

import pytest

from dtql_robot.cli import main
from dtql_robot.commands import bench
from dtql_robot.commands.bench_data import collect_data
from dtql_robot.config import Config
from dtql_robot.datasets import load
from dtql_robot.datasets.formats.ogbench_names import recording_name
from dtql_robot.errors import InputError
from dtql_robot.experiments.estimate import STARTING, Work, estimate, in_words
from dtql_robot.experiments.jobs import Job, evaluated
from dtql_robot.experiments.methods import METHODS
from dtql_robot.experiments.published import PUBLISHED
from dtql_robot.experiments.suites import SUITES, suite
from dtql_robot.presets import preset
from dtql_robot.system.locks import locked
from dtql_robot.training.loop import train

LONG = ("--train-args=--steps=1000000", "--train-args=--batch-size=32", "--train-args=--denoiser-width=16")

TINY = ("--train-args=--steps=20", "--train-args=--batch-size=32", "--train-args=--denoiser-width=16")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"suite": "fetsh"}, "no suite 'fetsh'. Did you mean fetch"),
        ({"suite": "smoke", "tasks": ("push",)}, "--tasks: there is no push; choose from reach"),
        ({"suite": "smoke", "methods": ("sac",)}, "--methods: there is no sac"),
        ({"suite": "manipulation", "tasks": ("door-human",)}, "--files door-human=PATH"),
        ({"suite": "manipulation", "files": ("door-human=missing.hdf5",)}, "existing file"),
        ({"suite": "smoke", "curve_points": 0}, "--curve-points must be 1 or more, found 0"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(options, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        bench.run(bench.Options(out=tmp_path / "bench", **options))
    assert not (tmp_path / "bench").exists()


def test_suites_and_methods_are_consistent():
    for name in SUITES:
        tasks = suite(name)
        assert len({t.name for t in tasks}) == len(tasks)
        assert all((t.data is None) == bool(t.source or t.by_name) for t in tasks)


def test_no_two_methods_are_the_same_and_one_is_the_default():
    configs = [Config() if name is None else preset(name) for name in METHODS.values()]
    assert configs.count(Config()) == 1
    assert all(configs.count(config) == 1 for config in configs)


@pytest.mark.parametrize(
    ("method", "behaviour"), [("dtql", "returns"), ("mse-bc-successes", "returns"), ("mse-bc", "all"), ("iql", "all")]
)
def test_without_labels_only_who_chooses_a_behaviour_goes_by_returns(method, behaviour, tmp_path):
    """A baseline that clones everything must not be helped by what the default would choose."""
    task = next(t for t in suite("mixed") if t.behaviour)
    job = Job(task, method, 0, tmp_path / "data.hdf5", tmp_path / "run")
    assert bench._work(job, ()).settings.data.behaviour == behaviour


def test_smoke_is_small_and_can_be_asked_for_more(tmp_path, monkeypatch):
    asked = []

    def stop(jobs, episodes, at_once, threads, train_args, done):
        asked.append((len(jobs), episodes, train_args))
        return dict.fromkeys(jobs, "not run")

    monkeypatch.setattr(bench, "run_jobs", stop)
    monkeypatch.setattr(bench, "estimate", lambda works, *_: float(len(works)))
    monkeypatch.setattr(bench, "collect_data", lambda *_: None)
    for more in ({}, {"seeds": ("0..2",), "methods": ("dtql",), "episodes": 50, "train_args": ("--steps=7",)}):
        with pytest.raises(SystemExit):
            bench.run(bench.Options(suite="smoke", out=tmp_path, **more))
    assert asked == [(2, 20, ("--steps=600",)), (3, 50, ("--steps=600", "--steps=7"))]


def test_an_empty_option_is_not_passed_on(tmp_path, capsys):
    assert main(["bench", "smoke", "--train-args=--", "--out", str(tmp_path / "b")]) == 2
    assert "--train-args has '--'" in capsys.readouterr().err


def test_a_slip_in_train_args_is_found_before_anything_runs(tmp_path, capsys):
    with pytest.raises(InputError, match="expectile"):
        bench.run(bench.Options(suite="smoke", out=tmp_path / "bench", train_args=("--expectile=2",)))
    assert not (tmp_path / "bench").exists()


@pytest.mark.parametrize("word", ["--preset=kl", "--seed=3", "--data=a.hdf5", "--out=x", "--resume", "--config=c.json"])
def test_what_bench_decides_itself_is_not_for_train_args(word, tmp_path):
    """With --preset=kl a row named mse-bc would be of another method."""
    with pytest.raises(InputError, match=f"--train-args has '{word}', which `bench` decides"):
        bench.run(bench.Options(suite="smoke", out=tmp_path / "bench", train_args=(word,)))
    assert not (tmp_path / "bench").exists()


def test_jobs_are_checked_before_anything_is_recorded(tmp_path):
    with pytest.raises(InputError, match="--jobs is 0"):
        bench.run(bench.Options(suite="smoke", out=tmp_path / "bench", jobs=0))
    assert not (tmp_path / "bench").exists()


def test_a_file_in_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.hdf5").touch()
    _, data = bench._choose(bench.Options(suite="smoke", files=("reach=~/mine.hdf5",)), tmp_path)
    assert data == {"reach": tmp_path / "mine.hdf5"}


def test_a_file_of_another_environment_is_no_file_of_the_task(tmp_path):
    data = tmp_path / "reach.hdf5"
    collect_data(suite("smoke")[0], data)
    asked = {"suite": "fetch", "tasks": ("push",), "files": (f"push={data}",), "out": tmp_path / "bench"}
    with pytest.raises(InputError, match=r"push=.*: the file is of FetchReach-v4, the task of FetchPush-v4"):
        bench.run(bench.Options(**asked))
    assert not (tmp_path / "bench").exists()


def test_an_evaluation_of_more_episodes_is_not_repeated_for_fewer(tmp_path):
    job = Job(suite("smoke")[0], "dtql", 0, tmp_path / "a.hdf5", tmp_path / "run")
    assert not evaluated(job, 1)
    job.folder.mkdir()
    episodes = [{"seed": i, "success": True, "return": 0.0, "length": 5, "time_to_success": None} for i in range(3)]
    content = {"env": "E-v0", "success_rate": 1.0, "ci95": [0, 1], "episodes": 3, "seed": 0, "mean_return": 0.0,
               "mean_length": 5.0, "policy_hz": 1.0, "env_steps_per_s": 1.0, "per_episode": episodes}  # fmt: skip
    (job.folder / "results.json").write_text(json.dumps(content))
    assert [evaluated(job, n) for n in (2, 3, 4)] == [True, True, False]


def test_runs_of_other_settings_or_data_do_not_pass_for_those_asked_for(tmp_path, monkeypatch):
    out, data = tmp_path / "bench", tmp_path / "bench" / "data" / "reach.hdf5"
    collect_data(suite("smoke")[0], data)
    folder = out / "runs" / "reach" / "mse-bc" / "seed0"
    assert main(["train", "--data", str(data), "--preset", "mse-bc", "--out", str(folder), *(
        word.removeprefix("--train-args=") for word in TINY)]) == 0  # fmt: skip
    ran = []
    monkeypatch.setattr(bench, "_run", lambda works, *_: ran.append(len(works)))
    asked = {"suite": "smoke", "out": out, "methods": ("mse-bc",)}
    bare = tuple(word.removeprefix("--train-args=") for word in TINY)
    bench.run(bench.Options(**asked, train_args=bare))
    bench.run(bench.Options(**asked, train_args=bare, curve_points=2))
    assert ran == [1, 1]
    for more, sentence in (("--steps=30", "steps was 20, now 30"), ("--denoiser-width=32", "denoiser_width was 16")):
        with pytest.raises(InputError, match=sentence):
            bench.run(bench.Options(**asked, train_args=(*bare, more)))
    other = tmp_path / "other.hdf5"
    other.write_bytes(data.read_bytes())
    with pytest.raises(InputError, match=r"data was .*reach.hdf5, now .*other.hdf5"):
        bench.run(bench.Options(**asked, train_args=bare, files=(f"reach={other}",)))
    assert ran == [1, 1]


@pytest.mark.slow
def test_the_estimate_is_of_the_right_size(tmp_path):
    """Measured on this machine: what a training of as many updates takes, within a wide factor."""
    data = tmp_path / "reach.hdf5"
    collect_data(suite("smoke")[0], data)
    work = Work("reach", "mse-bc", data, preset("mse-bc"), None)
    short = Work("reach", "mse-bc", data, dataclasses.replace(preset("mse-bc"), steps=1), None)
    whole, start_only = (estimate([w], 1, 1, 1) - STARTING for w in (work, short))
    begun = time.monotonic()
    train(load(data), tmp_path / "run", dataclasses.replace(preset("mse-bc"), steps=200, threads=1), progress=False)
    measured = (time.monotonic() - begun) / 200 * work.settings.steps
    assert measured / 8 < whole - start_only < measured * 8
    assert estimate([work, work, work], 1, 3, 1) < 2.5 * (whole + STARTING)


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (61, "61 s"), (720, "12 min"), (9000, "2.5 h")])
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words


@pytest.mark.slow
def test_a_suite_runs_resumes_and_writes_its_table(tmp_path):
    out = tmp_path / "bench"
    command = [sys.executable, "-m", "dtql_robot", "bench", "smoke", "--out", str(out), "--methods", "dtql", "mse-bc"]
    command += ["--seeds", "0", "--episodes", "3", "--jobs", "2", *TINY]
    command += ["--curve-points", "2", "--train-args=--eval-episodes=1"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert first.returncode == 0, first.stderr
    assert "2 of 2 runs to do, 2 at once\nthis takes up to " in first.stdout
    assert "| reach | dtql |" in first.stdout
    tables = {"results", "table.md", "table.csv", "figure.png", "curves.csv", "curves.png"}
    assert {p.name for p in out.iterdir()} == {"data", "runs", *tables}
    curves = list(csv.DictReader((out / "curves.csv").open()))
    assert [(c["method"], c["updates"], c["measure"]) for c in curves] == [
        (m, n, "success") for m in ("dtql", "mse-bc") for n in ("10", "20")
    ]
    assert {c["value"] for c in curves} <= {"0.0", "1.0"}  # of one episode
    found = json.loads((out / "results" / "reach-mse-bc-seed0.json").read_text())
    assert found["run"]["config"]["policy"]["trust_region_weight"] == 0
    assert len(found["results"]["per_episode"]) == 3
    assert found["train_seconds"] > 0

    untouched, again = (out / "runs" / "reach" / m / "seed0" / "results.json" for m in ("dtql", "mse-bc"))
    before = untouched.stat().st_mtime_ns
    again.unlink()
    second = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert second.returncode == 0, second.stderr
    assert "1 of 2 runs to do" in second.stdout
    assert untouched.stat().st_mtime_ns == before
    assert len(json.loads(again.read_text())["per_episode"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_bench_reaches_the_runs_and_they_save(tmp_path, number):
    """SIGKILL tells bench nothing: the kernel tells its runs."""
    out = tmp_path / "bench"
    command = [sys.executable, "-m", "dtql_robot", "bench", "smoke", "--out", str(out), "--methods", "mse-bc", *LONG]
    background = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", background, *command]  # as a shell starts what ends in `&`
    bench_process = subprocess.Popen([*command, "--seeds", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    run = out / "runs" / "reach" / "mse-bc" / "seed0"
    metrics = run / "metrics.csv"
    deadline = time.monotonic() + 240
    while not (metrics.exists() and metrics.stat().st_size):
        assert bench_process.poll() is None, bench_process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    bench_process.send_signal(number)
    bench_process.communicate(timeout=120)
    assert bench_process.returncode == (1 if number == signal.SIGTERM else -number)
    with locked(run / "checkpoint.pt", wait=True):  # which the training has until it has ended
        assert (run / "checkpoint.pt").exists()
    while "interrupted" not in (run / "bench.log").read_text():  # said after the lock is let go
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
def test_a_failing_run_is_named_and_the_others_go_on(tmp_path):
    out = tmp_path / "bench"
    args = ("--steps=10", "--batch-size=16", "--obs-keys=nonsense")
    with pytest.raises(SystemExit, match="1 of 1 runs failed"):
        bench.run(bench.Options(suite="smoke", out=out, methods=("dtql",), seeds=("0",), episodes=1, train_args=args))
    assert "nonsense" in (out / "runs" / "reach" / "dtql" / "seed0" / "bench.log").read_text()


def test_each_scene_of_ogbench_is_recorded_once_and_read_by_five_tasks(tmp_path):
    tasks, data = bench._choose(bench.Options(suite="ogbench"), tmp_path)
    assert len(tasks) == 20
    assert {task.group for task in tasks} == {group for group in PUBLISHED if group.startswith("ogbench ")}
    recorded = {data[t.name].with_name(f"{recording_name(data[t.name].stem)}.npz") for t in tasks}
    assert {p.name for p in recorded} == {
        *(f"{s}-play-v0.npz" for s in ("cube-single", "cube-double", "scene", "puzzle-3x3"))
    }
    full = bench._choose(bench.Options(suite="ogbench-full"), tmp_path)[1]
    assert str(full["scene-task3"]) == "ogbench:scene-play-singletask-task3-v0"


@pytest.mark.slow
@pytest.mark.simulator
def test_the_smallest_size_of_ogbench(tmp_path, monkeypatch):
    pytest.importorskip("ogbench", reason="ogbench is not installed (pip install 'dtql-robot[ogbench]')")
    monkeypatch.setattr(bench, "estimate", lambda *_: 1.0)  # which another test is about
    out = tmp_path / "bench"
    arguments = ["bench", "ogbench-smoke", "--out", str(out), "--methods", "mse-bc", "--tasks", "cube-single-task2"]
    assert main([*arguments, "--episodes", "1", "--jobs", "2", *TINY[1:], "--train-args=--steps=5"]) == 0
    assert [p.name for p in (out / "data").iterdir()] == ["cube-single-play-v0.npz"]
    found = json.loads((out / "results" / "cube-single-task2-mse-bc-seed0.json").read_text())
    assert found["run"]["env"] == "ogbench:cube-single-play-singletask-task2-v0"
    lines = (out / "summary.md").read_text().splitlines()
    assert lines[2].startswith("| ogbench cube-single-play | mse-bc |")
    assert lines[2].endswith("| 1 x 1 | here |")
    assert (
        "| ogbench cube-single-play | FQL |  |  | 0.96 |  | Park et al. 2025, arXiv 2502.02538; mean of 5 tasks |"
        in lines
    )
