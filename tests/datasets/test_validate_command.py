"""The validate command, and what train does with its findings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import save_robomimic
from tests.datasets.test_validate import edit, sound
from tests.helpers.sample_demos import make_demos


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = {"env_name": "Nowhere", "type": 3, "env_kwargs": {}}
    good = save_robomimic(replace(sound(), env_spec=None, env_args=nowhere), tmp_path / "good.hdf5")
    assert main(["validate", str(good)]) == 0
    printed = capsys.readouterr().out
    assert "warning: " + str(good) + ": The data names no environment" in printed
    assert "6 episodes, 36 transitions: 0 errors, 1 warnings" in printed
    assert main(["validate", str(good), "--env", "FetchPush-v4"]) == 2
    assert "actions with 2 entries, FetchPush-v4 takes 4" in capsys.readouterr().out
    bad = tmp_path / "bad.hdf5"
    bad.write_bytes(good.read_bytes()[:3000])
    assert main(["validate", str(bad), "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["errors"][0]["code"] == "unreadable"
    assert main(["validate", str(tmp_path / "none.hdf5")]) == 2


@pytest.mark.parametrize(
    ("good", "failed", "unlabelled", "said"),
    [
        (30, 10, 0, ["from the 30 of 40 labelled episodes that succeed", "states of the 10 episodes"]),
        (30, 0, 5, ["from the 30 of 30 labelled episodes that succeed; 5 without a label", "awr_temperature 0"]),
        (10, 30, 0, ["all episodes (10 are labelled successes", "awr_temperature 2.25: 30 of 40"]),
        (30, 0, 0, ["all 30 episodes; all succeed"]),
    ],
)
def test_what_train_would_decide_is_told(
    good: int, failed: int, unlabelled: int, said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = make_demos(good + failed + unlabelled)
    labels = [True] * good + [False] * failed + [None] * unlabelled
    episodes = [
        replace(e, success=None if ends is None else np.arange(len(e)) == (len(e) - 1 if ends else -1))
        for e, ends in zip(demos.episodes, labels, strict=True)
    ]
    path = save_robomimic(replace(demos, episodes=tuple(episodes), env_spec=None), tmp_path / "f.hdf5")
    assert main(["validate", str(path), "--json"]) == 0
    decisions = json.loads(capsys.readouterr().out)["decisions"]
    for what in said:
        assert any(what in sentence for sentence in decisions), what
    assert ("the trust region" in " ".join(decisions)) == (bool(failed) and good >= 25)
    assert main(["validate", str(path)]) == 0
    assert capsys.readouterr().out.count("train would decide: ") == len(decisions)


@pytest.mark.slow
def test_train_stops_at_errors_and_prints_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = edit(sound(), 2, actions=np.full((7, 2), 1.5, np.float32))
    path = save_robomimic(replace(wide, env_spec=None), tmp_path / "f.hdf5")
    options = ["--data", str(path), "--steps", "1", "--batch-size", "4", "--device", "cpu"]
    assert main(["train", *options, "--action-norm", "none", "--out", str(tmp_path / "a")]) == 2
    assert "actions leave [-1, 1]" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    assert main(["train", *options, "--out", str(tmp_path / "b")]) == 0
    assert "warning: demo_2, step 0" in capsys.readouterr().err
