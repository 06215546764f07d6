"""Run folders evaluated: with what they record of their environment, and without losing what was found before."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import dtql_robot
from dtql_robot import load_policy
from dtql_robot.cli import main
from dtql_robot.datasets import save_robomimic
from dtql_robot.eval import evaluate
from dtql_robot.reports import evaluations
from dtql_robot.run_folder import checkpoint_digest
from dtql_robot.types import Demonstrations, Episode
from tests.helpers.faulty_env import SPEC, STEPS
from tests.helpers.video_frames import read_video

SMALL = ["--steps", "2", "--batch-size", "8", "--policy-hidden", "16", "--critic-hidden", "16", "--device", "cpu"]
SMALL += ["--denoiser-width", "16", "--horizon", "2", "--n-action-steps", "2"]


def demonstrations(env_args):
    rng = np.random.default_rng(0)
    episodes = []
    for i in range(4):
        obs = {key: rng.standard_normal((STEPS + 1, 2)).astype(np.float32) for key in ("goal", "place")}
        success = np.arange(STEPS) == STEPS - 1
        episodes.append(
            Episode(f"demo_{i}", {k: v[:-1] for k, v in obs.items()}, {k: v[-1] for k, v in obs.items()},
                    rng.uniform(-1, 1, (STEPS, 2)).astype(np.float32), success.astype(np.float32), False, True, success)
        )  # fmt: skip
    return Demonstrations(tuple(episodes), "made", "robomimic", SPEC, env_args)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose record of the environment says that an episode has 9 steps."""
    folder = tmp_path_factory.mktemp("trained")
    record = {"env_name": SPEC, "type": 2, "env_version": "1", "env_kwargs": {"max_episode_steps": 9}}
    data = save_robomimic(demonstrations(record), folder / "data.hdf5")
    assert main(["train", "--data", str(data), "--env", SPEC, "--out", str(folder / "run"), *SMALL]) == 0
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    import shutil

    return Path(shutil.copytree(trained, tmp_path / "run"))


def command(run, *words):
    return main(["eval", str(run), "--env", SPEC, "--where", "in-process", "--workers", "1", *map(str, words)])


def found(path):
    return json.loads(path.read_text())


def test_what_the_run_records_of_its_environment_is_used_in_every_way_to_say_it(run):
    options = {"episodes": 2, "num_envs": 1, "progress": False}
    results = [evaluate(run, SPEC, **options), evaluate(str(run), env=SPEC, **options)]
    results += [evaluate(load_policy(run), SPEC, **options), evaluate(load_policy(run), "Faulty-v0", **options)]
    assert {result.horizon for result in results} == {9}
    assert all(result.per_episode == results[0].per_episode for result in results)
    assert evaluate(load_policy(run), SPEC, env_args={}, **options).horizon == STEPS


@pytest.mark.slow
def test_a_probe_does_not_replace_the_headline_and_says_where_it_is(run, capsys):
    assert command(run, "--episodes", 4) == 0
    before, page = found(run / "results.json"), (run / "report.html").read_text()
    capsys.readouterr()
    probes = (
        ["--episodes", 2],
        ["--episodes", 4, "--max-episode-steps", 5],
        ["--episodes", 4, "--seed", 3],
        ["--episodes", 9, "--n-action-steps", 1],
    )
    for words in probes:
        copy = run.parent / "copy.json"
        assert command(run, *words, "--results", copy) == 0
        assert found(run / "results.json") == before
        assert (run / "report.html").read_text() == page
        said = capsys.readouterr().out
        assert "results.json keeps the better supported evaluation" in said
        path = next(Path(line.strip()) for line in said.splitlines() if line.strip().endswith(".json"))
        assert path.parent == run / "results"
        assert path.with_suffix(".html").exists()
        assert found(path) == found(copy)
        assert found(copy)["episodes"] == words[1]
    assert len(list((run / "results").glob("*.json"))) == len(probes)


@pytest.mark.slow
def test_a_better_supported_result_takes_the_place_and_the_one_before_is_kept(run):
    assert command(run, "--episodes", 2) == 0
    before = found(run / "results.json")
    assert command(run, "--episodes", 3) == 0
    assert found(run / "results.json")["episodes"] == 3
    (kept,) = (run / "results").glob("*.json")
    assert found(kept) == before
    assert kept.with_suffix(".html").exists()
    assert command(run, "--episodes", 3) == 0  # the same again
    assert len(list((run / "results").glob("*.json"))) == 1


@pytest.mark.slow
def test_another_checkpoint_is_another_matter(run):
    assert command(run, "--episodes", 3) == 0
    checkpoint = run / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes() + b"\0")
    assert command(run, "--episodes", 2) == 0
    assert found(run / "results.json")["episodes"] == 2
    assert len(list((run / "results").glob("*.json"))) == 1


@pytest.mark.slow
def test_results_of_the_first_release_count_for_the_checkpoint_that_is_older_than_they_are(run):
    assert command(run, "--episodes", 3) == 0
    old = found(run / "results.json")
    del old["checkpoint"], old["asked"]
    (run / "results.json").write_text(json.dumps(old))
    assert command(run, "--episodes", 2) == 0
    assert found(run / "results.json")["episodes"] == 3
    later = time.time() + 10
    os.utime(run / "checkpoint.pt", (later, later))
    assert command(run, "--episodes", 2) == 0
    assert found(run / "results.json")["episodes"] == 2


@pytest.mark.slow
def test_results_that_cannot_be_read_are_replaced(run):
    (run / "results.json").write_text("{")
    assert command(run, "--episodes", 1) == 0
    assert found(run / "results.json")["episodes"] == 1


@pytest.mark.slow
def test_the_video_of_a_headline_goes_where_it_goes(run):
    result = {"env": SPEC, "seed": 0, "checkpoint": checkpoint_digest(run), "asked": {}}
    assert command(run, "--episodes", 2) == 0
    base = found(run / "results.json") | result
    (run / "v.mp4").write_text("of two")
    evaluations.keep(run, base | {"videos": ["v.mp4"]}, [run / "v.mp4"])
    evaluations.keep(run, base | {"episodes": 3, "videos": []})
    assert not (run / "v.mp4").exists()
    (moved,) = (run / "results").glob("*v.mp4")
    assert moved.read_text() == "of two"


@pytest.mark.parametrize("metrics", [None, b"", b"step,loss\n1,0.", b"\xff\xfe\x00"])
def test_a_broken_metrics_file_costs_a_curve(run, metrics):
    (run / "metrics.csv").unlink()
    if metrics is not None:
        (run / "metrics.csv").write_bytes(metrics)
    assert command(run, "--episodes", 1) == 0
    assert found(run / "results.json")["episodes"] == 1
    assert (run / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["raise_render", "no_frame", "tiny_frame"])
def test_a_video_that_cannot_be_made_is_no_success_and_costs_no_result(run, monkeypatch, capsys, fault):
    monkeypatch.setenv("FAULT", fault)
    with pytest.warns(UserWarning, match="could not be made"):
        assert command(run, "--episodes", 2, "--video", run / "v.mp4", "--video-size", 160) == 1
    assert "No video." in capsys.readouterr().err
    assert found(run / "results.json")["episodes"] == 2
    assert not (run / "v.mp4").exists()


@pytest.mark.slow
def test_frames_of_another_size_than_asked_for_are_fitted(run, monkeypatch):
    monkeypatch.setenv("FAULT", "odd_frame")
    assert command(run, "--episodes", 1, "--video", run / "v.mp4", "--video-size", 160) == 0
    frames, _ = read_video(run / "v.mp4")
    assert frames[0].shape[1] == 160
    assert found(run / "results.json")["videos"] == ["v.mp4"]


@pytest.mark.parametrize("option", ["--results", "--video"])
@pytest.mark.parametrize("name", ["n" * 252 + ".mp4", "folder.mp4", "file/v.mp4"])
def test_what_cannot_be_written_is_said_before_the_work(run, tmp_path, capsys, option, name):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    assert command(run, "--episodes", 1, option, tmp_path / name) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (run / "results.json").exists()


@pytest.mark.slow
def test_a_home_folder_is_expanded(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert command(run, "--episodes", 1, "--json=~/copy.json") == 0
    assert found(tmp_path / "copy.json")["episodes"] == 1


@pytest.mark.slow
def test_two_evaluations_do_not_write_one_file(run, tmp_path, capsys):
    from dtql_robot.system.locks import locked

    holds = "import sys, time\nfrom pathlib import Path\nfrom dtql_robot.system.locks import locked\n"
    holds += "with locked(Path(sys.argv[1])):\n    print(flush=True)\n    time.sleep(60)"
    env = {**os.environ, "PYTHONPATH": str(Path(dtql_robot.__file__).parents[1])}
    words = [sys.executable, "-c", holds, str(tmp_path / "copy.json")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=env) as other:
        other.stdout.readline()
        assert command(run, "--episodes", 1, "--results", tmp_path / "copy.json") == 2
        assert f"written by another process (process {other.pid})" in capsys.readouterr().err
        other.kill()
    with locked(tmp_path / "copy.json"):
        pass
    assert command(run, "--episodes", 1, "--results", tmp_path / "copy.json") == 0
