"""The curve of success against seconds (benchmarks/time_to_success.py), at a tiny size from end to end."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from dtql_robot import collect, save_robomimic

SCRIPT = Path(__file__).parents[2] / "benchmarks/time_to_success.py"


@pytest.fixture
def run(monkeypatch, capsys):
    """Calls the script with options; returns what it prints."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("time_to_success", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "time_to_success", script)
    spec.loader.exec_module(script)

    def call(*words):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--tasks", "reach", "--threads", "1", *map(str, words)])
        script.main()
        return capsys.readouterr().out

    return call


@pytest.mark.slow
@pytest.mark.simulator
def test_own_and_other_methods_play_the_same_episodes(run, tmp_path):
    """robomimic's BC learns and acts in processes of its own; their environment is this one, where it is installed."""
    pytest.importorskip("robomimic", reason="robomimic is not installed (pip install 'dtql-robot[robomimic]')")
    save_robomimic(collect("FetchReach-v4", 3, workers=1, progress=False), tmp_path / "reach.hdf5")
    (tmp_path / "venvs").mkdir()
    (tmp_path / "venvs/robomimic").symlink_to(sys.prefix)
    words = ["--seconds", "0.2", "--seeds", "0", "--episodes", "1", "--out", tmp_path, "--venvs", tmp_path / "venvs"]
    said = run("--methods", "mse-bc", "robomimic-bc", "d3rlpy-bc", *words)
    assert "d3rlpy-bc is left out: there is no environment" in said
    assert said.splitlines()[-3].startswith("robomimic-bc")
    found = json.loads((tmp_path / "results.json").read_text())
    assert list(found["left_out"]) == ["d3rlpy-bc"]
    assert [r["method"] for r in found["runs"]] == ["mse-bc", "robomimic-bc"]
    for r in found["runs"]:
        assert r["trained"]["updates"] > 0
        assert (r["episodes"], r["horizon"]) == (1, 50)
        assert r["success_rate"] in (0, 1)
    assert "updates in" not in run("--methods", "mse-bc", *words)  # what is there is not run again
