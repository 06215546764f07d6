"""Each row of the paper's tables from a file in D4RL's layout to a normalized score."""

import json
import os

import h5py
import numpy as np
import pytest

from dtql_robot import paper
from dtql_robot.cli import main
from dtql_robot.datasets import load
from tests.helpers.d4rl_files import d4rl_arrays, write_d4rl

ROWS = [row for row in paper.ROWS if not (row.dataset.startswith("antmaze") and row.dataset.endswith("-v0"))]
SMALL = ["--steps", "2", "--pretrain-steps", "2", "--batch-size", "8", "--policy-hidden", "16", "--critic-hidden", "16"]
SMALL += ["--denoiser-width", "16", "--device", "cpu"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Row -> its file; rows that are recorded in one environment share the recording."""
    folder, made = tmp_path_factory.mktemp("d4rl"), {}

    def file_of(row):
        family = row.env.split("-")[:2] if row.env.startswith("d4rl:a") else row.env
        key = str(family)
        if key not in made:
            made[key] = d4rl_arrays(row)
        return write_d4rl(folder / f"{row.dataset}.hdf5", made[key])

    return file_of


@pytest.mark.slow
@pytest.mark.simulator
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.dataset)
def test_from_the_file_to_a_normalized_score(row, recorded, tmp_path, capsys):
    out = tmp_path / "run"
    data = recorded(row)
    assert main(["train", "--preset", f"paper:{row.dataset}", "--data", str(data), "--out", str(out), *SMALL]) == 0
    assert f"{row.env}, with {row.horizon} steps per episode, as the preset's row has it" in capsys.readouterr().out
    assert main(["eval", str(out), "--episodes", "1", "--workers", "1"]) == 0
    found = json.loads((out / "results.json").read_text())
    assert np.isfinite(found["normalized_score"])
    assert found["normalized_by"]["source"] == "D4RL"
    assert (found["env"], found["horizon"]) == (row.env, row.horizon)
    used = json.loads((out / "config.json").read_text())["config"]
    assert used["data"]["reward_shift"] == (-1 if "antmaze" in row.dataset else 0)
