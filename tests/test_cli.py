"""The command line as scripts use it: outputs, exit codes, and one clear sentence for a user's mistake."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dtql_robot.cli import COMMANDS, main
from dtql_robot.datasets import load, save_robomimic

SMALL = ["--steps", "4", "--batch-size", "8", "--policy-hidden", "16", "--critic-hidden", "16", "--device", "cpu"]
SMALL += ["--denoiser-width", "16", "--horizon", "4", "--n-action-steps", "4"]


@pytest.fixture
def demo_file(demos, tmp_path) -> Path:
    return save_robomimic(demos, tmp_path / "demos.hdf5")


def refused(capsys, *arguments: str) -> str:
    """Run a command that must fail by the user's mistake; returns its one message."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err.strip()


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"dtql-robot {command}" in capsys.readouterr().out


def test_unknown_command_and_unknown_option(capsys):
    assert "unknown command 'trian'" in refused(capsys, "trian")
    assert "Did you mean --data?" in refused(capsys, "train", "--dta", "x", "--out", "y")


def test_one_seed_beside_several_is_refused(capsys):
    words = ("--data", "x.hdf5", "--out", "y", "--seeds", "0..3", "--seed", "5")
    assert "--seed 5 is none of them" in refused(capsys, "train", *words)


def test_a_setting_out_of_range_is_refused(capsys):
    assert main(["train", "--data", "x.hdf5", "--out", "run", "--expectile", "2"]) == 2
    assert "--expectile is 2.0; expected between 0 and 1" in capsys.readouterr().err


def test_train_then_train_again_then_resume(demo_file, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "--data", str(demo_file), "--out", str(run), *SMALL]) == 0
    assert "6 episodes" in capsys.readouterr().out
    assert "--resume" in refused(capsys, "train", "--data", str(demo_file), "--out", str(run), *SMALL)
    assert main(["train", "--out", str(run), "--resume", "--steps", "6"]) == 0
    saved = json.loads((run / "config.json").read_text())
    assert saved["config"]["steps"] == 6
    assert saved["config"]["policy"]["policy_hidden"] == [16]
    assert "critic.expectile was 0.7, now 0.8" in refused(
        capsys, "train", "--out", str(run), "--resume", "--expectile", "0.8"
    )


def test_presets_and_overrides_reach_the_config(demo_file, tmp_path):
    run = tmp_path / "run"
    arguments = ["train", "--data", str(demo_file), "--out", str(run), "--preset", "iql", "--lr", "0.01", *SMALL]
    assert main(arguments) == 0
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["policy"]["awr_temperature"] == 3.0
    assert config["optim"]["lr"] == 0.01


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["--data", "nowhere.hdf5"], "nowhere.hdf5"),
        (["--data", "DEMOS", "--env", "FetchPickAndPlace-v9"], "FetchPickAndPlace"),
        (["--data", "DEMOS", "--env", "FetchReach-v4"], "actions with 2 entries"),
        (["--data", "DEMOS", "--obs-keys", "eye"], "eye"),
        (["--data", "DEMOS", "--filter-key", "best"], "best"),
        (["--data", "DEMOS", "--preset", "pen-humen"], "Did you mean"),
        ([], "--data is missing"),
    ],
)
def test_train_refuses_in_one_sentence_and_leaves_nothing(arguments, cause, demo_file, tmp_path, capsys):
    run = tmp_path / "run"
    arguments = [str(demo_file) if a == "DEMOS" else a for a in arguments]
    message = refused(capsys, "train", "--out", str(run), *arguments, *SMALL)
    assert cause in message
    assert len(message.splitlines()) <= 3
    assert not run.exists()


def test_collect_refuses_before_it_records(tmp_path, capsys):
    taken = tmp_path / "taken.hdf5"
    taken.write_text("mine")
    assert "exists already" in refused(capsys, "collect", "FetchReach-v4", "--out", str(taken))
    assert "-vN" in refused(capsys, "collect", "FetchReach-v4", "--format", "minari", "--out", str(tmp_path / "reach"))
    assert "FetchSlide-v4" in refused(capsys, "collect", "FetchSlide-v4", "--out", str(tmp_path / "slide.hdf5"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["taken.hdf5"]
    assert taken.read_text() == "mine"


def test_damaged_and_foreign_files_are_refused(demo_file, tmp_path, capsys):
    cut = tmp_path / "cut.hdf5"
    cut.write_bytes(demo_file.read_bytes()[:3000])
    other = tmp_path / "other.hdf5"
    with h5py.File(other, "w") as f:
        f["weights"] = np.zeros(3)
    text = tmp_path / "notes.hdf5"
    text.write_text("not HDF5")
    for path in (cut, other, text):
        for command in (["inspect", str(path)], ["train", "--data", str(path), "--out", str(tmp_path / "run"), *SMALL]):
            assert path.name in refused(capsys, *command)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_eval_refuses_what_is_not_a_run(tmp_path, demo_file, capsys):
    assert "not a run folder" in refused(capsys, "eval", str(tmp_path))
    run = tmp_path / "run"
    assert main(["train", "--data", str(demo_file), "--out", str(run), *SMALL]) == 0
    capsys.readouterr()
    assert "--env" in refused(capsys, "eval", str(run))
    assert "trained for" in refused(capsys, "eval", str(run), "--env", "FetchReach-v4")
    assert not (run / "results.json").exists()


@pytest.mark.slow
def test_the_whole_way_in_real_processes(tmp_path):
    """collect, inspect, train, eval on FetchReach, as a script would call them."""
    program = [sys.executable, "-m", "dtql_robot"]
    data, run = tmp_path / "reach.hdf5", tmp_path / "run"

    def call(*arguments: object) -> str:
        done = subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("collect", "FetchReach-v4", "--episodes", 20, "--out", data, "--workers", 1)
    summary = json.loads(call("inspect", data, "--json"))
    assert summary["episodes"] == 20
    quick = ["--steps", 800, "--batch-size", 64, "--lr", 1e-3, "--q-weight", 0, "--denoiser-width", 64, "--threads", 1]
    call("train", "--data", data, "--out", run, *quick, "--critic-hidden", 16)
    copy = tmp_path / "copy.json"
    printed = call("eval", run, "--episodes", 4, "--workers", 1, "--json", copy)
    results = json.loads((run / "results.json").read_text())
    assert json.loads(copy.read_text()) == results
    expected = {"env", "success_rate", "ci95", "episodes", "seed", "mean_return", "mean_length", "policy_hz"}
    assert expected | {"env_steps_per_s", "per_episode"} <= set(results)
    assert {"seed", "success", "return", "length"} <= set(results["per_episode"][0])
    assert results["env"] == "FetchReach-v4"
    assert results["success_rate"] >= 0.5
    assert "95% interval" in printed
    page = (run / "report.html").read_text()
    assert "FetchReach-v4" in page
    assert "data:image/png;base64" in page


@pytest.mark.parametrize("layout", ["minari", "robomimic"])
def test_collected_files_open_in_the_packages_own_readers(layout, tmp_path):
    package = pytest.importorskip(layout)
    out = tmp_path / ("fetch/reach-v0" if layout == "minari" else "reach.hdf5")
    arguments = ["collect", "FetchReach-v4", "--episodes", "2", "--workers", "1", "--format", layout, "--out", str(out)]
    assert main(arguments) == 0
    ours = load(out).episodes
    if layout == "minari":
        theirs = [e.actions for e in package.MinariDataset(out / "data").iterate_episodes()]
    else:
        from robomimic.utils.dataset import SequenceDataset

        keys = list(ours[0].obs)
        reader = SequenceDataset(str(out), obs_keys=keys, dataset_keys=["actions"], seq_length=1, hdf5_cache_mode=None)
        rows = np.concatenate([reader[i]["actions"] for i in range(len(reader))])
        theirs = np.split(rows, [len(ours[0])])
    for episode, actions in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(episode.actions, actions)


@pytest.mark.slow
def test_a_reader_that_stops_early_gives_no_traceback(tmp_path):
    """As in `dtql-robot inspect FILE | head`."""
    import os

    read, write = os.pipe()
    os.close(read)
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = np.zeros((4, 3)), np.ones((4, 2))
        file["rewards"], file["terminals"] = np.zeros(4), np.arange(4) == 3
    command = [sys.executable, "-m", "dtql_robot", "inspect", str(path)]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("line", [["toy", "--steps", "3"], ["split", "DATA", "--train", "0.5"], ["eval", "RUN"]])
@pytest.mark.parametrize("seed", ["-1", "9223372036854775808", "-9223372036854775809"])
def test_a_seed_out_of_range_is_one_sentence(line, seed, capsys):
    assert main([*line, f"--seed={seed}"]) == 2
    assert f"--seed is {seed}; expected at " in capsys.readouterr().err
