"""benchmarks/td3_bc.py up to where d3rlpy, which needs an environment of its own, takes over."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from dtql_robot.cli import main
from dtql_robot.datasets import load
from dtql_robot.errors import InputError
from dtql_robot.run_folder import read_config

SCRIPT = Path(__file__).parents[2] / "benchmarks/td3_bc.py"
pytestmark = [pytest.mark.slow, pytest.mark.simulator]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("td3_bc", SCRIPT)
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "td3_bc", found)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A bench with one finished run, and one that was not evaluated."""
    folder = tmp_path_factory.mktemp("bench")
    data, run = folder / "a.hdf5", folder / "b/runs/hopper-medium/mse-bc/seed3"
    words = ["--level", "random", "--transitions", "60", "--workers", "1", "--out", str(data)]
    assert main(["collect", "Hopper-v5", *words]) == 0
    small = ["--preset", "mse-bc", "--steps", "7", "--batch-size", "8", "--policy-hidden", "8", "--critic-hidden", "8"]
    small += ["--denoiser-width", "8", "--reward", "dataset", "--reward-shift", "-1"]
    for out in (run, run.with_name("seed4")):
        seed = out.name.removeprefix("seed")
        assert main(["train", "--data", str(data), "--out", str(out), "--seed", seed, "-q", *small]) == 0
    assert main(["eval", str(run), "--episodes", "2", "--workers", "1"]) == 0
    return data, folder / "b"


def test_it_learns_what_the_finished_runs_learn(script, finished):
    data, bench = finished
    (partner,) = script.partners(bench, None, None)
    assert (partner.name, partner.results["env"]) == ("hopper-medium-td3-bc-seed3", "Hopper-v5")
    assert list(script.partners(bench, ["walker2d-medium"], None)) == []
    assert list(script.partners(bench, None, [4])) == []
    demos = load(data)
    settings = read_config(bench / "runs/hopper-medium/mse-bc/seed3")["config"]["data"]
    flat = script.flatten(demos, settings)
    ends = np.cumsum([len(e) for e in demos.episodes]) - 1
    assert np.flatnonzero(flat.last).tolist() == ends.tolist()
    assert np.flatnonzero(flat.done).tolist() == [
        end for end, e in zip(ends, demos.episodes, strict=True) if e.terminated
    ]
    assert flat.done.any()
    np.testing.assert_array_equal(flat.reward, np.concatenate([e.rewards for e in demos.episodes]) - 1)
    np.testing.assert_array_equal(flat.obs, np.concatenate([e.obs["observation"] for e in demos.episodes]))
    for e in demos.episodes:
        e.actions[:] *= 3
    with pytest.raises(InputError, match=r"actions beyond \[-1, 1\]"):
        script.flatten(demos, settings)


def test_what_is_missing_is_said(script, finished, tmp_path, monkeypatch):
    """A learner in an environment without d3rlpy is a process that fails; its last words are passed on."""
    _, bench = finished

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["td3_bc.py", str(bench), "--venvs", str(tmp_path), *words])
        script.main()

    with pytest.raises(SystemExit, match=r"there is no environment .*d3rlpy; make it with --install"):
        run()
    (tmp_path / "d3rlpy").symlink_to(sys.prefix)
    with pytest.raises(SystemExit, match="no finished run of these tasks and seeds"):
        run("--seeds", "4")
    with pytest.raises(SystemExit, match=r"hopper-medium-td3-bc-seed3 failed: ModuleNotFoundError.*d3rlpy"):
        run()
    assert (bench / "td3-bc/hopper-medium-td3-bc-seed3/data.npz").exists()
    assert not list((bench / "results").iterdir())


def test_a_result_in_a_line(script):
    record = {
        "task": "hopper-medium",
        "train_seconds": 12.0,
        "run": {"config": {"seed": 1, "steps": 300}},
        "results": {"mean_return": 74.0, "normalized_score": 2.9, "success_rate": None, "episodes": 2},
    }
    assert script.in_a_line(json.loads(json.dumps(record))) == (
        "hopper-medium-td3-bc-seed1: 300 updates in 12 s; return 74.0, normalized score 2.9 (2 episodes)"
    )
