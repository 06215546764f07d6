"""The suites on published data sets: their files, their protocols, and their sums beside published numbers."""

import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from dtql_robot import paper
from dtql_robot.cli import main
from dtql_robot.commands import bench
from dtql_robot.commands.bench_data import collect_data
from dtql_robot.datasets import load
from dtql_robot.datasets.published.names import published_file, split_name
from dtql_robot.envs import env_info
from dtql_robot.errors import InputError
from dtql_robot.eval.reference_returns import find_reference
from dtql_robot.experiments.aggregate import mean, over_tasks
from dtql_robot.experiments.behaviour import behaviour_scores
from dtql_robot.experiments.jobs import Job
from dtql_robot.experiments.published import BY_TASK, CORL, DTQL_PAPER, PUBLISHED, TASKS_OF
from dtql_robot.experiments.suites import D4RL_ADROIT, D4RL_GYM, SIZES, PolicyRecording, Recording, suite
from dtql_robot.experiments.summary import summary
from dtql_robot.experiments.table import Cell


def cell(task, method, rates=(), scores=()):
    count = max(len(rates), len(scores))
    return Cell(
        task, method, tuple(range(count)), rates or (0.5,) * count, 50, (1.0,) * count, (1.0,) * count, scores=scores
    )


def test_each_task_has_a_published_file_and_an_environment():
    for name in ("robomimic", "d4rl"):
        assert suite(name) == suite(f"{name}-full")
        assert "--steps=1000000" in SIZES[f"{name}-full"].options
        for task in suite(name):
            file = published_file(*split_name(task.by_name))
            assert file.env is None or file.env in task.options
    groups = {task.group for name in ("robomimic", "d4rl", "paper") for task in suite(name)}
    assert {g for g in PUBLISHED if not g.startswith("ogbench ")} <= groups
    assert set(BY_TASK) <= {task.name for name in ("robomimic", "d4rl", "paper") for task in suite(name)}


@pytest.mark.simulator
@pytest.mark.parametrize("task", [D4RL_ADROIT[0], D4RL_ADROIT[1], D4RL_GYM[0]], ids=lambda t: t.name)
def test_d4rls_references_fit_the_protocol(task):
    """The environment and the length of episodes are those that D4RL's normalized scores are for."""
    limit = next((int(o.rpartition("=")[2]) for o in task.options if o.startswith("--max-episode-steps")), None)
    facts = env_info(task.options[1], max_episode_steps=limit)
    reference, why = find_reference(facts, {}, facts.horizon)
    assert reference is not None, why
    assert (reference.source, reference.measure) == ("D4RL", "return")


def test_sums_beside_published_numbers():
    tasks = {task.name: task.group for name in ("robomimic", "d4rl") for task in suite(name)}
    rates = {"lift-mh": (1.0, 0.9), "can-mh": (0.8, 0.7), "square-mh": (0.3, 0.1)}
    scores = {"pen-human-v1": (60.0, 90.0), "hopper-medium-v2": (70.0, 50.0)}
    cells = [cell(t, "dtql", rates=r) for t, r in rates.items()]
    cells += [cell(t, "dtql", scores=s) for t, s in scores.items()]
    cells.append(cell("door-human-v1", "dtql", rates=(0.1, 0.2)))  # without a score there is nothing to compare
    lines = [
        tuple(part.strip() for part in line.strip("|\n").split("|")) for line in summary(cells, tasks).splitlines()
    ]
    value, (low, high) = over_tasks(list(rates.values()))
    whole = ("robomimic mh", "dtql", f"{value:.3f}", f"{low:.3f} to {high:.3f}", "0.633", "3 x 2", "here")
    assert lines[2] == whole
    assert ("robomimic mh", "QC-FQL", "", "", "0.74", "", "Li et al. 2025, arXiv 2507.07969") in lines
    assert lines.index(whole) < lines.index(("lift-mh", "dtql", "0.950", "0.900 to 1.000", "0.950", "1 x 2", "here"))
    assert ("square-mh", "FQL", "", "", "0.06", "", "Li et al. 2025, arXiv 2507.07969") in lines
    assert ("pen-human-v1", "dtql", "75.0", "60.0 to 90.0", "75.0", "1 x 2", "here") in lines
    assert ("pen-human-v1", "DTQL", "", "", "64.1", "", "Chen et al. 2024, arXiv 2405.19690") in lines
    assert ("d4rl gym", "DTQL", "", "", "88.7", "", "Chen et al. 2024, arXiv 2405.19690; mean of 9 tasks") in lines
    assert not any(line[0] == "door-human-v1" for line in lines)


def test_each_published_number_names_its_source():
    """The paper that it is from, by its number on arXiv, with the year and the authors."""
    for table in (PUBLISHED, BY_TASK):
        for name, sources in table.items():
            assert sources, name
            for source, numbers in sources.items():
                assert re.fullmatch(r"[\w. ]+ et al\. 20\d\d, arXiv \d{4}\.\d{5}(, sparse)?", source), source
                assert all(-5 <= value <= 120 for value in numbers.values())


def test_published_means_are_those_of_their_tasks():
    for method, value in PUBLISHED["robomimic mh"]["Li et al. 2025, arXiv 2507.07969"].items():
        tasks = [BY_TASK[f"{t}-mh"]["Li et al. 2025, arXiv 2507.07969"][method] for t in ("lift", "can", "square")]
        assert value == pytest.approx(np.mean(tasks), abs=0.1)
    assert set(TASKS_OF) == set(PUBLISHED)
    for group in ("d4rl gym", "d4rl antmaze"):
        assert TASKS_OF[group] == len([task for task in suite("paper") if task.group == group])
        tasks = [task.name for task in suite("paper") if task.group == group]
        for method, value in PUBLISHED[group][CORL].items():
            assert value == pytest.approx(np.mean([BY_TASK[t][CORL][method] for t in tasks]), abs=0.01)
    of_dtql = [BY_TASK[t][DTQL_PAPER]["DTQL"] for t in BY_TASK if "hopper" in t or "walker2d" in t or "cheetah" in t]
    assert len(of_dtql) == 9
    assert PUBLISHED["d4rl gym"][DTQL_PAPER]["DTQL"] == pytest.approx(np.mean(of_dtql), abs=0.05)


def test_files_in_a_folder_of_the_users(tmp_path):
    options = {"suite": "d4rl", "tasks": ("door-human-v1",), "data_dir": tmp_path}
    with pytest.raises(InputError, match=r"contains no door-human-v1.hdf5 or d4rl/door-human-v1.hdf5 or hand_dapg_v1/"):
        bench._choose(bench.Options(**options), tmp_path / "out")
    for place in ("hand_dapg_v1/door-human-v1.hdf5", "d4rl/door-human-v1.hdf5", "door-human-v1.hdf5"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
        assert bench._choose(bench.Options(**options), tmp_path / "out")[1] == {"door-human-v1": tmp_path / place}
    (tmp_path / "low_dim_v15.hdf5").touch()
    with pytest.raises(InputError, match=r"contains no lift/mh/low_dim_v15.hdf5"):
        bench._choose(bench.Options(suite="robomimic", data_dir=tmp_path), tmp_path / "out")
    with pytest.raises(InputError, match="the tasks of smoke use none"):
        bench._choose(bench.Options(suite="smoke", data_dir=tmp_path), tmp_path / "out")


@pytest.mark.slow
def test_without_a_network_nothing_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DTQL_CACHE", str(tmp_path / "cache"))
    assert main(["bench", "robomimic", "--tasks", "can-mh", "--out", str(tmp_path / "out")]) == 2
    assert "/can/mh/low_dim_v15.hdf5 cannot be fetched" in capsys.readouterr().err
    assert not (tmp_path / "out/runs").exists()


@pytest.mark.slow
@pytest.mark.simulator
def test_the_smallest_size_of_d4rl(real_data, tmp_path, capsys):
    """A real file under its published name, trained on and judged in the real simulator."""
    shutil.copyfile(real_data / "d4rl_door_human_v0/door-v0_demos_clipped.hdf5", tmp_path / "door-human-v1.hdf5")
    small = [f"--train-args=--{o}" for o in ("steps=4", "batch-size=16", "denoiser-width=16", "policy-hidden=16")]
    out = tmp_path / "bench"
    assert main(["bench", "d4rl", "--tasks", "door-human-v1", "--methods", "mse-bc", "--seeds", "0", "--episodes", "1",
                 "--data-dir", str(tmp_path), "--out", str(out), "--jobs", "1", *small]) == 0  # fmt: skip
    line = (out / "summary.md").read_text().splitlines()[2]
    assert line.startswith("| d4rl adroit human | mse-bc |")
    assert os.listdir(out / "results") == ["door-human-v1-mse-bc-seed0.json"]


@pytest.mark.slow
@pytest.mark.simulator
def test_locomotion_is_recorded_here_and_trained_by_the_papers_settings(tmp_path):
    """The whole way but for the training: the data, what it reaches, and what each method would be told."""
    task = replace(suite("locomotion")[0], data=PolicyRecording("Hopper-v5", ("random",), 200))
    data = tmp_path / "data" / "hopper-medium.hdf5"
    collect_data(task, data)
    demos = load(data)
    assert 200 <= demos.num_transitions < 200 + len(demos.episodes[-1])
    scores = behaviour_scores(task, data)
    assert np.mean(scores) == pytest.approx(1.0, abs=2.0)  # of random actions
    size = SIZES["locomotion"]
    for method in size.methods:
        work = bench._work(Job(task, method, 0, data, tmp_path / method, bench._own(method, size)), size.options)
        assert (work.env, work.settings.steps, work.settings.optim.batch_size) == ("Hopper-v5", 20_000, 256)
        of_paper = paper.row_of("hopper-medium-v2").recipe["policy.trust_region_weight"]
        assert (work.settings.policy.trust_region_weight == of_paper) == (method == "paper")
    text = summary([cell(task.name, "dtql", scores=(50.0, 60.0))], {task.name: task.group}, {task.name: scores})
    line = next(x for x in text.splitlines() if x.startswith(f"| {task.name} | behaviour"))
    low, high = over_tasks([scores], mean)[1]
    assert f"| {low:.1f} to {high:.1f} | {np.mean(scores):.1f} | {len(scores)} | the data |" in line


@pytest.mark.slow
@pytest.mark.simulator
def test_locomotion_of_several_levels_is_recorded_into_one_file(tmp_path):
    mixed = next(task for task in suite("locomotion") if task.name == "hopper-medium-expert")
    assert mixed.data == PolicyRecording("Hopper-v5", ("medium", "expert"), 50_000)
    data = tmp_path / "a.hdf5"
    collect_data(replace(mixed, data=PolicyRecording("Hopper-v5", ("random", "medium"), 100)), data)
    demos = load(data)
    bad, good = ([e for e in demos.episodes if e.name.startswith(level)] for level in ("random ", "medium "))
    assert [e.name for e in demos.episodes] == [e.name for e in (*bad, *good)]
    for part in (bad, good):
        lengths = [len(e) for e in part]
        assert sum(lengths[:-1]) < 100 <= sum(lengths)
    assert max(len(e) for e in bad) < len(good[0])
    assert (demos.env_spec, "collection" in demos.attrs) == ("Hopper-v5", False)  # of which there were two
    assert len(behaviour_scores(mixed, data)) == len(demos)
    assert mixed.paper_row == paper.row_of("hopper-medium-expert-v2")


@pytest.mark.slow
@pytest.mark.simulator
def test_antmaze_is_recorded_here_and_trained_by_the_papers_settings(tmp_path):
    """The smallest size of it: data, four updates of two methods, one episode each, and the table."""
    out = tmp_path / "bench"
    names = [f"antmaze-{maze}" for maze in ("umaze", "umaze-diverse")]
    assert [task.name for task in suite("antmaze")] == names
    task = suite("antmaze")[0]
    assert task.data == Recording("d4rl:antmaze-umaze-v2", transitions=100_000)
    data = out / "data" / "antmaze-umaze.hdf5"
    collect_data(replace(task, data=replace(task.data, transitions=200)), data)
    demos = load(data)
    lengths = [len(e) for e in demos.episodes]
    assert sum(lengths[:-1]) < 200 <= sum(lengths)
    assert (demos.format, demos.env_spec) == ("d4rl", "d4rl:antmaze-umaze-v2")
    assert behaviour_scores(task, data) == (100.0,) * len(demos)
    small = [f"--train-args=--{o}" for o in ("steps=4", "batch-size=16", "candidates=2", "policy-hidden=16")]
    assert main(["bench", "antmaze", "--tasks", "antmaze-umaze", "--methods", "paper", "mse-bc", "--seeds", "0",
                 "--episodes", "1", "--out", str(out), "--jobs", "1", *small, "--train-args=--pretrain-steps=2",
                 "--train-args=--device=cpu"]) == 0  # fmt: skip
    text = (out / "summary.md").read_text()
    line = next(x for x in text.splitlines() if x.startswith("| antmaze-umaze | behaviour"))
    assert "| 100.0 |" in line
    for method in ("paper", "mse-bc"):
        assert (out / "results" / f"antmaze-umaze-{method}-seed0.json").exists()
    settings = json.loads((out / "runs/antmaze-umaze/paper/seed0/config.json").read_text())["config"]
    assert (settings["data"]["reward_shift"], settings["optim"]["batch_size"]) == (-1, 16)
    assert (
        settings["policy"]["trust_region_weight"]
        == paper.row_of("antmaze-umaze-v2").recipe["policy.trust_region_weight"]
    )
